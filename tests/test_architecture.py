"""The arrows between the packages, as imports show them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"backend", "worker", "dashboard", "tests"}
OPEN_DOORS = {f"backend.{name}" for name in ("client", "durable", "errors", "origin", "retry", "schemas", "settings")}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every import of a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def found(package: str) -> list[tuple[str, str]]:
    """List (file, import) of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return [(str(path.relative_to(ROOT)), name) for path in files for name in imports(path)]


def top(name: str) -> str:
    """Return the package that an import names."""
    return name.partition(".")[0]


def test_backend_imports_nothing_of_ours() -> None:
    """The backend stands alone, without torch and Streamlit."""
    bad = [row for row in found("backend") if top(row[1]) in (OURS - {"backend"}) | {"torch", "streamlit"}]
    assert bad == []


@pytest.mark.parametrize(("package", "other"), [("worker", "dashboard"), ("dashboard", "worker")])
def test_worker_and_dashboard_use_the_backend_by_its_doors(package: str, other: str) -> None:
    """Both import only the open doors of the backend, and never each other."""
    rows = found(package)
    assert [row for row in rows if top(row[1]) in {other, "tests"}] == []
    doors = tuple(f"{door}." for door in OPEN_DOORS)
    bad = [row for row in rows if top(row[1]) == "backend" and not f"{row[1]}.".startswith(doors)]
    assert bad == []


def test_optimizers_import_torch_alone() -> None:
    """The mathematics needs torch and the standard library only."""
    allowed = set(sys.stdlib_module_names) | {"torch"}
    bad = [row for row in found("worker/optim") if top(row[1]) not in allowed and not row[1].startswith("worker.optim")]
    assert bad == []


def test_backend_runs_without_torch() -> None:
    """Importing the whole backend loads neither torch nor Streamlit."""
    code = "import backend.api.app, backend.cli.main, sys; print(sorted({'torch', 'streamlit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}


@pytest.mark.parametrize("package", ["backend", "worker", "dashboard"])
def test_nothing_is_ever_unpickled(package: str) -> None:
    """No file imports what runs code from data, calls torch.load, or lets numpy load objects."""
    assert [row for row in found(package) if top(row[1]) in UNPICKLERS] == []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            bad = isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"
            bad |= isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
            assert not bad, (path, ast.unparse(node))
