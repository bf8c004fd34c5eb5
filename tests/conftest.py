"""One pool of test processes: which tests share a process, and which begin first."""

import os

import pytest

# Before torch is imported. More test processes than cores run, so each has one thread, and a thread that waits sleeps.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = {"quiet", "service", "backend"}
"""Session fixtures that start processes: the tests of each run in one process of the pool."""
OWN = {"browser", "own", "processes", "own_processes", "short_leases", "guarded", "up"}
"""Other fixtures that start processes."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests that share processes, mark those as slow that start some, and put slow groups first.

    A test outside of a group is grouped with its file, so that fixtures of a module are made once.
    """
    groups: dict[pytest.Item, str] = {}
    slow: set[str] = set()
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("postgres"):
            group = "postgres"
        else:
            group = next(iter(sorted(SHARED & fixtures)), item.path.stem)
        groups[item] = group
        item.add_marker(pytest.mark.xdist_group(group))
        if group == "postgres" or "e2e" in item.path.parts or fixtures & (SHARED | OWN):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            slow.add(group)
    first = ["quiet", "service"]
    items.sort(key=lambda item: (groups[item] not in first, groups[item] not in slow, groups[item]))
