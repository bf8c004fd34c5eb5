"""Tests of the IDX reader."""

import struct
from pathlib import Path

import pytest

from backend.errors import RunFailed
from worker.problems.data.idx import read_idx


def write(path: Path, header: bytes, numbers: bytes) -> Path:
    """Write a file."""
    path.write_bytes(header + numbers)
    return path


def test_reads_shape_and_numbers(tmp_path: Path) -> None:
    """Dimensions come from the header, numbers in row-major order."""
    path = write(tmp_path / "x", struct.pack(">HBBII", 0, 8, 2, 2, 3), bytes(range(6)))
    assert read_idx(path).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("header", "numbers", "message"),
    [
        (b"", b"", "not an IDX file"),
        (b"\x00\x00\x08", b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 13, 1, 2), bytes(8), "not an IDX file of 8-bit numbers"),
        (struct.pack(">HBBI", 7, 8, 1, 2), bytes(2), "not an IDX file"),
        (struct.pack(">HBB", 0, 8, 200), b"", "not an IDX file"),
        (struct.pack(">HBBI", 0, 8, 1, 3), bytes(2), "holds 2 numbers, but its header says 3"),
    ],
)
def test_refuses_what_is_not_idx(tmp_path: Path, header: bytes, numbers: bytes, message: str) -> None:
    """A file that is no IDX file, or was cut, is refused by name."""
    with pytest.raises(RunFailed, match=message):
        read_idx(write(tmp_path / "x", header, numbers))
