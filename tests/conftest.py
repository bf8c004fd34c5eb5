"""One pool of test processes: which tests share a process, and which begin first."""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling

# Before torch is imported. More test processes than cores run, so each has one thread, and a thread that waits sleeps.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

GROUPS = {
    "quiet": ["tests/e2e/test_compare", "tests/e2e/test_hostile", "tests/e2e/test_keeping"],
    "service": [f"tests/e2e/test_{name}" for name in ("commands", "launching", "notebook", "queue", "reproduce")],
    "loop": ["tests/worker/agent/test_loop"],
    "main": ["tests/worker/test_main"],
    "dashboard": ["tests/dashboard/"],
    "accessibility": ["tests/e2e/test_accessibility"],
    "race": ["tests/worker/agent/test_race"],
}
"""Tests that share the processes of a session fixture, by the start of their path; the longest group first."""
STARTING = {"backend", "browser", "own", "processes", "own_processes", "quiet", "service", "short_leases", "guarded"}
"""Fixtures that start processes."""


def _group(nodeid: str) -> str:
    """Return the group of a test; outside of any it is its file, so that a module's fixtures are made once."""
    if "postgres" in nodeid:
        return "postgres"
    return next((name for name, starts in GROUPS.items() if nodeid.startswith(tuple(starts))), nodeid.split("::")[0])


class _Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Gives each group to one process of the pool."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Scheduler:
    """Schedule by groups, in the order of the collection, whatever `--dist` is."""
    config.option.loadscopereorder = False
    return _Scheduler(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts processes, and put slow groups first."""
    for item in items:
        starting = STARTING & set(getattr(item, "fixturenames", ()))
        if starting or item.get_closest_marker("postgres") or "e2e" in item.path.parts:
            item.add_marker(pytest.mark.slow)
    slow = {_group(item.nodeid) for item in items if item.get_closest_marker("slow")}
    ranks = {name: rank for rank, name in enumerate(GROUPS)}

    def order(item: pytest.Item) -> tuple[int, bool, str]:
        group = _group(item.nodeid)
        return ranks.get(group, len(ranks)), group not in slow, group

    items.sort(key=order)
