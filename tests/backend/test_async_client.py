"""Tests of the client for asyncio: the same calls, the same answers, and the loop goes on meanwhile."""

import asyncio
import inspect
from contextlib import aclosing
from pathlib import Path

import pytest

from backend.async_client import AsyncClient
from backend.client import Client
from backend.errors import NotFound
from backend.schemas.api import Claim
from tests.backend.samples import INFO, catalog, spec, updates
from tests.processes import Processes

FOR_WORKERS = {
    "register", "claim", "worker_heartbeat", "heartbeat", "start", "append", "finish", "finish_as", "standings",
}  # fmt: skip
NOT_AWAITED = {"close"}
STREAMED = {"follow"}


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


def test_every_call_of_users_is_there() -> None:
    """A call that the client gains cannot be forgotten here."""
    calls = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert calls - FOR_WORKERS - NOT_AWAITED - STREAMED == {
        name for name, value in vars(AsyncClient).items() if type(value).__name__ == "_Awaited"
    }
    assert {name for name, value in vars(AsyncClient).items() if inspect.isasyncgenfunction(value)} == STREAMED


@pytest.mark.anyio
async def test_answers_are_the_same(client: Client, claim: Claim) -> None:
    """Records, columns, frames and errors are those of the client, and calls run side by side."""
    client.append(claim.run.id, claim.token, updates(1, 3))
    many = AsyncClient(client=client)
    made, found = await asyncio.gather(many.launch(spec(name="b")), many.series([claim.run.id]))
    assert made == client.experiment(made.id)
    assert found == client.series([claim.run.id])
    assert (await many.runs(experiment=made.id, limit=1)) == client.runs(experiment=made.id, limit=1)
    with pytest.raises(NotFound):
        await many.run("nowhere0")


@pytest.mark.anyio
async def test_waiting_does_not_hold_the_loop(client: Client, claim: Claim) -> None:
    """While a wait goes on, the run can be cancelled from the same loop."""
    async with AsyncClient(client=client) as many:
        waiting = asyncio.create_task(many.wait([claim.run.id], timeout=20))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        client.finish(claim.run.id, claim.token, "cancelled")
        (run,) = await waiting
        assert run.status.final


@pytest.mark.anyio
async def test_a_run_is_followed(client: Client, claim: Claim) -> None:
    """The stream gives what the client's gives, and may be left early."""
    client.append(claim.run.id, claim.token, updates(1, 30))
    client.finish(claim.run.id, claim.token, "finished")
    many = AsyncClient(client=client)
    assert [piece async for piece in many.follow([claim.run.id])] == list(client.follow([claim.run.id]))
    async with aclosing(many.follow([claim.run.id])) as pieces:
        assert (await anext(pieces))[1]["update"] == list(range(1, 31))
    with pytest.raises(NotFound):
        await anext(many.follow(["nowhere0"]))


@pytest.mark.anyio
async def test_a_restart_of_the_backend_ends_nothing(tmp_path: Path) -> None:
    """Waits and streams that were there go on when the backend was away for seconds; nothing comes twice."""
    processes = Processes(tmp_path)
    try:
        async with AsyncClient(processes.backend_url) as many:
            worker = processes.client.register(INFO, catalog()).worker_id
            await many.launch(spec())
            claim = processes.client.claim(worker)
            assert claim is not None
            processes.client.append(claim.run.id, claim.token, updates(1, 3))
            seen: list[int] = []

            async def follow() -> None:
                async for _, columns in many.follow([claim.run.id]):
                    seen.extend(columns["update"])

            following = asyncio.create_task(follow())
            waiting = asyncio.create_task(many.wait([claim.run.id], timeout=300))
            while not seen:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(processes.restart_backend, after=6)
            assert not following.done()
            assert not waiting.done()
            processes.client.append(claim.run.id, claim.token, updates(4, 5))
            processes.client.finish(claim.run.id, claim.token, "finished")
            await following
            assert (seen, (await waiting)[0].status) == ([1, 2, 3, 4, 5], "finished")
    finally:
        processes.stop()


@pytest.mark.anyio
async def test_a_follower_that_is_cancelled_leaves_the_stream(tmp_path: Path) -> None:
    """A task that waits for rows ends at once, and its thread with the next line or the connection."""
    processes = Processes(tmp_path)
    try:
        async with AsyncClient(processes.backend_url) as many:
            worker = processes.client.register(INFO, catalog()).worker_id
            (run, _) = (await many.launch(spec())).runs
            claim = processes.client.claim(worker)
            assert claim is not None
            processes.client.append(run.id, claim.token, updates(1, 3))
            seen: list[int] = []

            async def follow() -> None:
                async for _, columns in many.follow([run.id]):
                    seen.extend(columns["update"])

            task = asyncio.create_task(follow())
            while not seen:
                await asyncio.sleep(0.01)
            processes.client.append(run.id, claim.token, updates(4, 5))
            while len(seen) < 5:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert seen == [1, 2, 3, 4, 5]
    finally:
        processes.stop()
