"""Tests of the client for asyncio: the same calls, the same answers, and the loop goes on meanwhile."""

import asyncio
import inspect

import pytest

from backend.async_client import AsyncClient
from backend.client import Client
from backend.errors import NotFound
from backend.schemas import Claim
from tests.backend.samples import spec, updates

FOR_WORKERS = {"register", "claim", "worker_heartbeat", "heartbeat", "start", "append", "finish", "finish_as"}
NOT_AWAITED = {"close", "follow"}


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


def test_every_call_of_users_is_there() -> None:
    """A call that the client gains cannot be forgotten here."""
    calls = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert calls - FOR_WORKERS - NOT_AWAITED == {
        name for name, value in vars(AsyncClient).items() if type(value).__name__ == "_Awaited"
    }


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
