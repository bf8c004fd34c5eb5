"""The architecture, as imports show it: which package may import which, and no cycle of modules."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("backend", "worker", "dashboard")
ORDER = {
    "backend": [
        "errors", "durable_files", "settings", "schemas", "formats", "storage", "catalog", "queue", "metrics",
        "experiments", "paper", "security", "operations", "client", "api", "cli", "__main__",
    ],
    "worker": ["optim", "problems", "checkpoints", "delivery", "training", "agent", "__main__"],
    "dashboard": ["ui", "server", "runs", "launch", "compare", "pages", "__main__"],
}  # fmt: skip
"""the packages and modules at the top of each package, lowest first: one imports only those before it"""
FROM_BACKEND = {
    "worker": {"schemas", "client", "errors", "settings", "durable_files"},
    "dashboard": {"schemas", "client", "errors", "settings", "security.origin"},
}
"""what worker and dashboard may import of the backend"""


def dotted(path: Path) -> str:
    """Return a file's module name."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    """Return the product's modules by name."""
    return {dotted(path): path for package in PRODUCT for path in sorted((ROOT / package).rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every import of a file, wherever in the file it is."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules() or node.module not in modules() else str(node.module)


def found(package: str) -> list[tuple[str, str]]:
    """List (module, import) of a package."""
    rows = [(name, path) for name, path in modules().items() if name == package or name.startswith(f"{package}.")]
    assert rows
    return [(name, target) for name, path in rows for target in imports(path)]


def top(name: str) -> str:
    """Return the first part of a dotted name."""
    return name.partition(".")[0]


@pytest.mark.parametrize("package", PRODUCT)
def test_a_package_imports_only_packages_before_it(package: str) -> None:
    """The order of the list is the order of the imports; a new package needs its place in the list."""
    order = ORDER[package]
    places = {top(name.removeprefix(f"{package}.")) for name in modules() if name.startswith(f"{package}.")}
    assert places == set(order)
    bad = [
        (name, target)
        for name, target in found(package)
        if top(target) == package and "." in name and "." in target
        and order.index(name.split(".")[1]) < order.index(target.split(".")[1])
    ]  # fmt: skip
    assert bad == []


def test_no_modules_import_each_other() -> None:
    """There is no cycle of modules."""
    graph = {name: {target for target in imports(path) if target in modules()} for name, path in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {error.args[1]}")


def test_backend_imports_nothing_of_ours() -> None:
    """The backend needs neither worker, dashboard and tests, nor torch and Streamlit."""
    foreign = {"worker", "dashboard", "tests", "torch", "streamlit"}
    assert [row for row in found("backend") if top(row[1]) in foreign] == []


@pytest.mark.parametrize(("package", "other"), [("worker", "dashboard"), ("dashboard", "worker")])
def test_worker_and_dashboard_import_little_of_the_backend(package: str, other: str) -> None:
    """Both import schemas, client, errors and settings of the backend, and never each other."""
    rows = found(package)
    assert [row for row in rows if top(row[1]) in {other, "tests"}] == []
    allowed = tuple(f"backend.{name}." for name in FROM_BACKEND[package])
    assert [row for row in rows if top(row[1]) == "backend" and not f"{row[1]}.".startswith(allowed)] == []


def test_optimizers_import_torch_alone() -> None:
    """The mathematics needs torch and the standard library only."""
    allowed = set(sys.stdlib_module_names) | {"torch"}
    rows = found("worker.optim")
    assert [r for r in rows if top(r[1]) not in allowed and not r[1].startswith("worker.optim")] == []


def test_backend_runs_without_torch() -> None:
    """Importing the whole backend loads neither torch nor Streamlit."""
    code = "import backend.api.app, backend.cli.launch, sys; print(sorted({'torch', 'streamlit'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}


@pytest.mark.parametrize("package", PRODUCT)
def test_nothing_is_ever_unpickled(package: str) -> None:
    """No file imports what runs code from data, calls torch.load, or lets numpy load objects."""
    assert [row for row in found(package) if top(row[1]) in UNPICKLERS] == []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            bad = isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load"
            bad |= isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
            assert not bad, (path, ast.unparse(node))
