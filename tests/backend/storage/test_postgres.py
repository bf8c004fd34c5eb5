"""Tests of what only PostgreSQL has: several backends over one database, rows locked one by one, a server that dies."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import run
from threading import Event
from time import sleep, time

import pytest
from sqlalchemy import Connection, create_engine, func, select, text

from backend.api.services import Services
from backend.errors import StorageUnavailable
from backend.schemas.api import Announcement, Append
from backend.schemas.optimizers import Adam
from backend.schemas.runs import Run, RunStatus
from backend.settings import Settings
from backend.storage.database import Database, Unusable, reserved
from backend.storage.run_rows import get_run
from backend.storage.tables import UPDATES
from tests.backend.samples import INFO, catalog, spec, updates
from tests.backend.storage.test_database import check_upgraded, make_first_tables
from tests.clients import BothClient
from tests.inprocess import backend
from tests.postgres import Cluster, cluster, lacking

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(bool(lacking()), reason=f"PostgreSQL: {lacking()}")]


@pytest.fixture
def url(server: Cluster) -> Iterator[str]:
    """Make an empty database."""
    url = server.create()
    yield url
    server.drop(url)


def opened(tmp_path: Path, url: str) -> Services:
    """Open the services as a backend does, with the database's own clock."""
    return Services(Settings(home=tmp_path, database_url=url))


def announce(services: Services) -> str:
    """Register a worker."""
    return services.workers.register(Announcement(info=INFO, catalog=catalog())).worker_id


def test_backends_that_start_together_make_the_tables_once(tmp_path: Path, url: str) -> None:
    """Each waits for the one before, and all of them work."""
    with ThreadPoolExecutor(4) as pool:
        instances = list(pool.map(lambda _: opened(tmp_path, url), range(4)))
    for services in instances:
        services.database.check()
        services.close()


def test_every_run_is_claimed_once_by_many_backends(tmp_path: Path, url: str) -> None:
    """Workers that claim from several backends at once never get the same run and never block each other."""
    instances = [opened(tmp_path, url) for _ in range(3)]
    worker = announce(instances[0])
    seeds = list(range(20))
    made = instances[0].experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=seeds))

    def claim_all(services: Services) -> list[str]:
        found = []
        while claim := services.queue.claim(worker):
            found.append(claim.run.id)
            services.metrics.append(claim.run.id, Append(claim_number=claim.claim_number, rows=updates(1, 5)))
        return found

    with ThreadPoolExecutor(6) as pool:
        claimed = [run_id for ids in pool.map(claim_all, instances * 2) for run_id in ids]
    assert sorted(claimed) == sorted(run.id for run in made.runs)
    with instances[0].database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(UPDATES)) == 100
    for services in instances:
        services.close()


def test_a_key_launches_once_over_many_backends(tmp_path: Path, url: str) -> None:
    """Requests with one key that reach several backends together queue one comparison."""
    instances = [opened(tmp_path, url) for _ in range(3)]
    announce(instances[0])
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda s: s.experiments.launch(spec(), idempotency_key="k").id, instances * 4))
    assert len(set(made)) == 1
    for services in instances:
        services.close()


def test_a_claim_passes_over_a_row_that_is_being_written(tmp_path: Path, url: str) -> None:
    """A transaction that locks the first run does not block claims: the next run is claimed."""
    services = opened(tmp_path, url)
    worker = announce(services)
    first, second = services.experiments.launch(spec()).runs
    with services.database.write() as connection:
        connection.execute(text("SELECT 1 FROM runs WHERE id = :id FOR UPDATE"), {"id": first.id})
        claim = services.queue.claim(worker)
        assert claim is not None
        assert claim.run.id == second.id
    services.close()


def test_leases_run_on_the_database_clock(tmp_path: Path, url: str) -> None:
    """Backends on machines whose clocks differ agree on when a lease is over."""
    services = opened(tmp_path, url)
    assert services.clock() == pytest.approx(time(), abs=5)
    assert services.clock == services.database.now
    services.close()


def test_an_idle_transaction_holds_nobody_up(url: str) -> None:
    """Time limits end transactions that wait or idle for too long; a URL can set other limits."""
    asked = [text("SHOW lock_timeout"), text("SHOW idle_in_transaction_session_timeout")]
    for address, expected in ((url, ["30s", "30s"]), (f"{url}?options=-c%20lock_timeout%3D5s", ["5s", "0"])):
        database = Database(address, migrate=False)
        with database.read() as connection:
            assert [connection.scalar(one) for one in asked] == expected
        database.close()


def test_a_reader_writes_nothing(url: str) -> None:
    """A view is read-only, so that a verb that should be a write cannot pass for a read."""
    database = Database(url)
    with pytest.raises(Exception, match="read-only transaction"), database.read() as connection:
        connection.execute(text("DELETE FROM runs"))
    database.close()


def test_a_server_that_dies_is_an_absence(tmp_path: Path) -> None:
    """While PostgreSQL is down calls get 503; nothing acknowledged is lost, and work continues afterwards."""
    with cluster() as server, backend(Settings(home=tmp_path, database_url=server.create())) as http:
        client = BothClient(http=http)
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec())
        claim = client.claim(worker)
        assert claim is not None
        assert client.append(claim.run.id, claim.claim_number, updates(1, 50)) == 50
        server.kill()
        with pytest.raises(StorageUnavailable):
            client.append(claim.run.id, claim.claim_number, updates(51, 60))
        server.start()
        assert client.series([claim.run.id])[claim.run.id]["update"] == list(range(1, 51))
        assert client.append(claim.run.id, claim.claim_number, updates(51, 60)) == 60
        assert client.run(claim.run.id).status is RunStatus.RUNNING


def test_a_server_that_cannot_be_had_is_said_at_the_start(tmp_path: Path, server: Cluster) -> None:
    """A backend does not start without its database; one line names it, without the password."""
    address = server.url("nowhere").replace("blockhf@", "blockhf:secret@")
    with pytest.raises(Unusable, match=r'cannot be reached.*"nowhere" does not exist') as caught, reserved(address):
        pass
    assert "secret" not in str(caught.value)
    settings = {"BLOCKHF_HOME": str(tmp_path), "BLOCKHF_DATABASE_URL": address}
    ended = run([sys.executable, "-m", "backend"], env=settings, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the database postgresql://blockhf:***@")
    assert ended.stderr.count("\n") == 1


def test_an_older_database_is_brought_up_to_date(url: str) -> None:
    """The changes of the tables keep what is in them, as on SQLite."""
    make_first_tables(url)
    database = Database(url)
    check_upgraded(database)
    database.close()


def test_a_table_of_another_server_is_left_alone(url: str) -> None:
    """A migration that fails leaves the database as it was."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE updates (theirs integer)"))
    with pytest.raises(Exception, match='relation "updates" already exists'):
        Database(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
    assert found == ["updates"]
    engine.dispose()


@pytest.mark.parametrize("other", ["claim", "retry"])
def test_a_deletion_waits_for_claims_and_retries(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """A run that is being claimed, or queued again, while its comparison is deleted does not outlive it."""
    instances = [opened(tmp_path, url) for _ in range(2)]
    worker = announce(instances[0])
    made = instances[0].experiments.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=[0]))
    run_id = made.runs[0].id
    if other == "retry":
        instances[0].queue.cancel(run_id)
    inside, go = Event(), Event()

    def slow(connection: Connection, name: str) -> Run:
        inside.set()
        go.wait(30)
        return get_run(connection, name)

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setattr("backend.queue.queue.get_run", slow)  # the last step of both
        queue = instances[0].queue
        act = pool.submit(lambda: queue.claim(worker) if other == "claim" else queue.retry(run_id))
        assert inside.wait(30)
        monkeypatch.undo()
        deletion = pool.submit(instances[1].experiments.delete, made.id)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with instances[1].database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not deletion.done() and not connection.scalar(text(waits)):
                sleep(0.01)
        go.set()
        act.result(30)
        deletion.result(30)
    run = instances[0].runs.get(run_id)
    assert run.cancel_requested if other == "claim" else run.status is RunStatus.CANCELLED
    for services in instances:
        services.close()


def test_what_the_tables_cannot_hold_is_refused(tmp_path: Path, url: str) -> None:
    """A NUL in a note, and a token beyond the column, are errors of the field, as on SQLite."""
    history = "update,train_loss,block0_cg_iterations,block0_stop_reason,block0_note\n1,0.5,1,residual,a\0b\n"
    with backend(Settings(home=tmp_path, database_url=url)) as http:
        sent = {"spec": {"optimizers": [{"kind": "adam"}]}, "csv": history}
        answers = [
            http.post("/api/v1/imports", json=sent),
            http.post("/api/v1/runs/aaaaaaaaaaaa/heartbeat", json={"claim_number": 2**31}),
            http.post(
                "/api/v1/runs/aaaaaaaaaaaa/finish", json={"claim_number": 1, "status": "finished", "ended_by": "a\0b"}
            ),
        ]
    assert [answer.status_code for answer in answers] == [422, 422, 422]
    fields = [answer.json()["errors"][0]["field"] for answer in answers]
    assert fields == ["csv.line2.block0_note", "claim_number", "ended_by"]
