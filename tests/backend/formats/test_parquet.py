"""Tests of Parquet through a child process."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet as peer

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


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    """Its last words are in the error, also where it ended before all was said."""
    with pytest.raises(RuntimeError, match="No such file"):
        read([tmp_path / "none"])
    with pytest.raises(RuntimeError, match="no_such_kind"):
        write({"n": "no_such_kind"}, {}, ([[0] * 100_000] for _ in range(20)))


def test_no_room_is_an_error() -> None:
    """A file that does not fit is never a part of one, also where Python writes at once what it can."""
    code = """if True:
        import random, resource, sys
        from backend import parquet
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        try:
            parquet.write({"x": "float64"}, {}, [[[random.random() for _ in range(20_000)]]])
        except OSError as error:
            sys.exit("File too large" not in str(error))
        sys.exit(2)
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_the_process_itself_stays_small(tmp_path: Path) -> None:
    """Reading and writing bring neither pyarrow nor pandas into a server."""
    code = f"""if True:
        import sys, backend.api.app
        from pathlib import Path
        from backend import parquet
        path = Path({str(tmp_path / "three.parquet")!r})
        path.write_bytes(parquet.write({{"n": "int64"}}, {{}}, [[[1]]]))
        assert parquet.read([path])[0].columns == {{"n": [1]}}
        sys.exit(bool({{"pyarrow", "pandas", "numpy"}} & set(sys.modules)))
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
