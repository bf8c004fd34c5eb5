"""Tests of the commands that carry curves out and in, against the application."""

import errno
import json
from hashlib import sha256
from pathlib import Path

import pytest

from backend.errors import InvalidInput
from backend.schemas.api import Claim
from backend.schemas.optimizers import Adam
from backend.schemas.runs import RunStatus
from backend.settings import Settings
from tests.backend.conftest import Run
from tests.backend.experiments.test_imports import long
from tests.backend.samples import checkpoint, spec, updates
from tests.clients import BothClient


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Write a history of three updates, as a spreadsheet saves it."""
    path = tmp_path / "their run.csv"
    path.write_text("update,test_loss,seconds\n1,5.5,0.1\n2,,0.2\n3,4.5,0.3\n", encoding="utf-8-sig")
    return path


def test_a_file_becomes_a_run(run: Run, client: BothClient, history: Path) -> None:
    """It is called as the file is, holds what the file held, and is marked as imported; its id is printed."""
    done = run("import", str(history), "-o", "adam learning_rate=0.01", "--seed", "7", "-s", "problem.data=mnist")
    (stored,) = client.runs()
    assert done.stdout == f"{stored.id}\n"
    assert (stored.experiment_name, stored.status, stored.ended_by) == ("their run", RunStatus.FINISHED, "imported")
    assert stored.config.optimizer == Adam(learning_rate=0.01)
    assert (stored.config.seed, stored.config.problem.data) == (7, "mnist")
    assert client.series([stored.id])[stored.id]["test_loss"] == [5.5, None, 4.5]


def test_what_was_exported_can_be_imported(run: Run, client: BothClient, claim: Claim, tmp_path: Path) -> None:
    """An exported file and a specification file give the same rows; JSON shows the run."""
    client.append(claim.run.id, claim.claim_number, updates(1, 12))
    assert run("export", claim.run.id, "--to", str(tmp_path / "curves")).exit_code == 0
    file = tmp_path / "curves" / f"{claim.run.id}.csv"
    (tmp_path / "spec.yaml").write_text("name: from a file\noptimizers: [{kind: hf, damping: 0.2}]\n")
    told = json.loads(run("import", str(file), "--spec", str(tmp_path / "spec.yaml"), "--json").stdout)
    assert (told["name"], told["optimizer"], told["updates"]) == ("from a file", "hf", 12)
    assert (told["status"], told["ended_by"], told["last"]["test_loss"]) == ("finished", "imported", 95 / 12)
    assert client.export(told["id"]) == client.export(claim.run.id) == file.read_text()


def test_a_long_file_is_imported(run: Run, client: BothClient, tmp_path: Path) -> None:
    """A file over the limit of other requests is one request."""
    (tmp_path / "long.csv").write_text(long(31_000))
    assert (tmp_path / "long.csv").stat().st_size > Settings().max_body_bytes
    told = json.loads(run("import", str(tmp_path / "long.csv"), "-o", "adam", "--json").stdout)
    assert client.run(told["id"]).summary.updates == told["updates"] == 31_000


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("update,test_loss\n1,5\n1,4\n", ["-o", "adam"], r"^csv.line3.update is 1: must be more than 1"),
        ("update,test_loss\n1,five\n", ["-o", "adam"], "^csv.line2.test_loss is 'five'"),
        ("test_loss\n1\n", ["-o", "adam"], "^csv is None: needs the column update"),
        ("update,test_loss\n1,5\n", [], "^optimizer is None: "),
        ("update,test_loss\n1,5\n", ["-o", "rprop"], "^optimizer is 'rprop': must be one of adam, hf, bhf"),
        (
            "update,test_loss\n1,5\n",
            ["-o", "hf damping=-1"],
            "^optimizers.0.damping is -1: .*greater than or equal to 0",
        ),
        ("update,test_loss\n1,5\n", ["--spec", "nowhere.yaml"], "^file is 'nowhere.yaml': .*No such file"),
        (None, ["-o", "adam"], "^file is '.*their.csv': .*No such file"),
        (b"\xff\xfe\x00", ["-o", "adam"], "^file is '.*their.csv': .*codec can't decode"),
    ],
)
def test_a_mistake_is_named(
    run: Run, client: BothClient, tmp_path: Path, text: str | bytes | None, arguments: list[str], words: str
) -> None:
    """Field, value and limit are said, and nothing is stored."""
    file = tmp_path / "their.csv"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InvalidInput, match=words):
        run("import", str(file), *arguments)
    assert client.experiments() == []


def test_a_file_of_several_runs_is_none(run: Run, client: BothClient, history: Path, tmp_path: Path) -> None:
    """Two optimizers cannot have made one history."""
    (tmp_path / "spec.yaml").write_text("optimizers: [{kind: hf}, {kind: adam}]\n")
    with pytest.raises(InvalidInput, match=r"^optimizers is 2: at most 1"):
        run("import", str(history), "--spec", str(tmp_path / "spec.yaml"))
    assert client.experiments() == []


def test_the_help_says_what_a_file_holds(run: Run) -> None:
    """Which columns are needed, and how each option is written."""
    told = " ".join(run("import", "--help").stdout.replace("│", " ").split())
    for words in ("RUN.csv", "--optimizer", "--spec", "--set", "--seed", "--json", "which rises"):
        assert words in told


def test_final_weights_are_written(
    run: Run, client: BothClient, claim: Claim, settings: Settings, tmp_path: Path
) -> None:
    """Files go to standard output or a folder; a run without a file is named with the reason."""
    assert "has not finished" in str(run("weights", claim.run.id).exception)
    held = settings.home / "checkpoints" / claim.run.id / "weights.safetensors"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"weights")
    client.finish(claim.run.id, claim.claim_number, "finished", ended_by="end", weights=sha256(b"weights").hexdigest())
    assert run("weights", claim.run.id).stdout_bytes == b"weights"
    path = tmp_path / "all" / f"{claim.run.id}.safetensors"
    assert run("weights", claim.run.id, "--to", str(path.parent)).stdout == f"{path}\n"
    assert path.read_bytes() == b"weights"
    with pytest.raises(InvalidInput, match=r"^to is '.*': .*(exists|Not a directory)"):
        run("weights", claim.run.id, "--to", str(path))


def test_a_checkpoint_is_written(
    run: Run, client: BothClient, claim: Claim, settings: Settings, tmp_path: Path
) -> None:
    """Beside the weights under a name of its own; a run that has none is named."""
    assert "checkpoint" in str(run("checkpoint", claim.run.id).exception)
    held = settings.home / "checkpoints" / claim.run.id / "2-state.safetensors"
    held.parent.mkdir(parents=True)
    held.write_bytes(b"state")
    named = checkpoint(2).model_copy(update={"sha256": sha256(b"state").hexdigest()})
    client.append(claim.run.id, claim.claim_number, updates(1, 2), checkpoint=named)
    assert run("checkpoint", claim.run.id).stdout_bytes == b"state"
    path = tmp_path / "all" / f"{claim.run.id}.checkpoint.safetensors"
    assert run("checkpoint", claim.run.id, "--to", str(path.parent)).stdout == f"{path}\n"
    assert path.read_bytes() == b"state"


def test_a_file_is_whole_or_not_there(
    run: Run, client: BothClient, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing breaks off, what was there before stays, and nothing else is left."""
    client.append(claim.run.id, claim.claim_number, updates(1, 3))
    path = tmp_path / "all" / f"{claim.run.id}.csv"
    assert run("export", claim.run.id, "--to", str(path.parent)).exit_code == 0
    before = path.read_bytes()
    client.append(claim.run.id, claim.claim_number, updates(4, 9))
    seen: list[list[str]] = []

    def full(_: int) -> None:
        seen.append(sorted(one.name for one in path.parent.iterdir()))
        assert path.read_bytes() == before
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(InvalidInput, match=r"^to is .*No space left on device"):
            run("export", claim.run.id, "--to", str(path.parent))
    assert (len(seen), len(seen[0])) == (1, 2)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before
    assert run("export", claim.run.id, "--to", str(path.parent)).exit_code == 0
    assert path.read_text() == client.export(claim.run.id)
    assert list(path.parent.iterdir()) == [path]


def test_several_runs_need_a_folder(run: Run, client: BothClient, claim: Claim) -> None:
    """Standard output takes one run."""
    with pytest.raises(InvalidInput, match=r"^ids is 2: .*--to FOLDER"):
        run("export", client.experiments()[0].id)
    assert run("export", claim.run.id).stdout == client.export(claim.run.id)


def test_a_run_without_weights_hides_no_others(
    run: Run, client: BothClient, worker: str, settings: Settings, tmp_path: Path
) -> None:
    """Where one run of a comparison was cancelled, the weights of the others are written; the exit code is 1."""
    made = client.launch(spec(optimizers=[Adam(gradient_batch=10)], seeds=[0, 1, 2]))
    for status in ("finished", "cancelled", "finished"):
        claim = client.claim(worker)
        assert claim is not None
        held = settings.home / "checkpoints" / claim.run.id / "weights.safetensors"
        held.parent.mkdir(parents=True)
        held.write_bytes(b"weights")
        weights = sha256(b"weights").hexdigest() if status == "finished" else None
        client.finish(claim.run.id, claim.claim_number, status, weights=weights)
    done = run("weights", made.id, "--to", str(tmp_path / "to"))
    first, second, third = (run.id for run in made.runs)
    assert done.exit_code == 1
    assert f"{second}: run {second} has no final weights" in done.stderr
    assert {path.name for path in (tmp_path / "to").iterdir()} == {f"{first}.safetensors", f"{third}.safetensors"}
