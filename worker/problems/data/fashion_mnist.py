"""Fashion-MNIST: 60,000 + 10,000 images of clothes (Xiao, Rasul, Vollgraf 2017), in its published order."""

from pathlib import Path

from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, Source
from worker.problems.data.fetching import File, ensure, from_debian, from_web
from worker.problems.data.idx import read_dataset

INFO = DataSet(
    name="fashion-mnist",
    title="Fashion-MNIST",
    train_size=60_000,
    test_size=10_000,
    shape=[1, 28, 28],
    classes=10,
    embedded=False,
)

FILES = (
    File("train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    File("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    File("t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    File("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
)
_PACKED = {  # of the compressed files, as published
    "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
_OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_FOLDER = "usr/share/datasets/fashion-mnist"

DEBIAN = {
    "Debian, dataset-fashion-mnist": from_debian(
        "dataset-fashion-mnist", {file.name: f"{_FOLDER}/{file.name}.gz" for file in FILES}
    )
}
WAYS = {_OFFICIAL: from_web(_OFFICIAL, _PACKED)} | DEBIAN


def load(folder: Path) -> Dataset:
    """Fetch what is missing into folder/fashion-mnist, verify all, read all.

    Raises:
        RunFailed: it is not there and could not be fetched.
    """
    ensure(folder / INFO.name, FILES, WAYS)
    return read_dataset(INFO, folder / INFO.name, [file.name for file in FILES])


SOURCE = Source(INFO, load)
