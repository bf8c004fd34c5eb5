"""Tests of Parquet files."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet as peer

from backend.formats import parquet
from backend.formats.parquet import Table, read, write

KINDS = {"n": "int64", "x": "float64", "word": "string", "good": "bool_"}
COLUMNS: dict[str, list[Any]] = {
    "n": [1, 2, 3],
    "x": [0.1, None, 5e-324],
    "word": ["a\n", "", None],
    "good": [True, False, None],
}


def made(path: Path) -> Path:
    """Write a file in two pages."""
    pages = [[column[:2] for column in COLUMNS.values()], [column[2:] for column in COLUMNS.values()]]
    path.write_bytes(write(KINDS, {"what": "a test"}, pages))
    return path


def test_a_file_is_what_pyarrow_reads(tmp_path: Path) -> None:
    """Every value, type and text of the metadata is there, in the order of the pages."""
    table = peer.read_table(made(tmp_path / "one.parquet"))
    assert table.to_pydict() == COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "string", "bool"]
    assert table.schema.metadata == {b"what": b"a test"}


def test_files_are_read(tmp_path: Path) -> None:
    """One call reads several, in their order; no file, no table; no page, no row."""
    empty = tmp_path / "two.parquet"
    empty.write_bytes(write(KINDS, {}, []))
    nothing: dict[str, list[Any]] = {name: [] for name in KINDS}
    assert read([made(tmp_path / "one.parquet"), empty]) == [Table({"what": "a test"}, COLUMNS), Table({}, nothing)]
    assert read([]) == []


def test_groups_of_rows_are_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group comes as soon as it is full; joined, they are one file with every row."""
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 10)
    parts = list(parquet.stream({"n": "int64"}, {}, ([[n, n + 1]] for n in range(0, 100, 2))))
    assert len(parts) == 11
    file = peer.ParquetFile(BytesIO(b"".join(parts)))
    assert file.num_row_groups == 10
    assert file.read().to_pydict() == {"n": list(range(100))}


def test_pyarrow_is_imported_at_first_use() -> None:
    """A backend that makes no Parquet file has neither pyarrow nor pandas."""
    code = """if True:
        import sys, backend.api.app
        from backend.formats import parquet
        assert not {"pyarrow", "pandas", "numpy"} & set(sys.modules)
        assert parquet.write({"n": "int64"}, {}, [[[1]]])
        assert "pyarrow" in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)
