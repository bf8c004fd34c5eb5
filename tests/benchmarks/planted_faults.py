"""Whether the play with the queue would find a fault: some are planted in what the queue says to its database.

python -m tests.benchmarks.planted_faults [--plays 300] [--only WORD] [--json]

Each fault changes one statement on its way to SQLite, as a mistake in the queue's code would have written it; then the
play runs until it disagrees with its model. A fault that matches no statement is an error, so that none goes stale. It
ends with 1 where one was not found.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, Verbosity, settings
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from backend.settings import Settings
from tests.backend.queue.play.machine import PLAYS, play
from tests.backend.queue.play.stage import Stage, stage


@dataclass
class Fault:
    """A mistake: what a statement is, and what it becomes. Places for values must stay as many as they were."""

    name: str
    right: str
    wrong: str
    hits: int = field(default=0, compare=False)

    def plant(self, statement: str) -> str:
        """Change a statement where it is the one."""
        found, count = re.subn(self.right, self.wrong, " ".join(statement.split()))
        self.hits += count
        return found


_HOLD = r"^(SELECT runs.number, runs.worker.* WHERE runs.id = \? AND )"
_CLAIM = r"^(UPDATE runs SET status=\?, claim_number=.*)"
_ASK = r"^UPDATE runs SET (cancel|pause)_requested=\? WHERE"
FAULTS = [
    Fault(
        "the claim number does not grow",
        r"claim_number=\(runs.claim_number \+ \?\)",
        "claim_number=max(1, runs.claim_number + 0 * ?)",
    ),
    Fault("an older claim may write", _HOLD + r"runs.claim_number = \?", r"\1runs.claim_number >= ?"),
    Fault("an ended run can be written", _HOLD + r"(.*) AND runs.status = \?", r"\1\2 AND ? <> ''"),
    Fault(
        "a heartbeat renews nothing",
        r"^UPDATE runs SET lease_until=\? WHERE runs.number",
        "UPDATE runs SET lease_until=max(0 * ?, lease_until) WHERE runs.number",
    ),
    Fault("a held run is claimed again", _CLAIM + r"AND runs.lease_until < \?", r"\1AND runs.lease_until < 2 * ?"),
    Fault("a lost run is left lying", _CLAIM + r"AND runs.lease_until < \?", r"\1AND runs.lease_until < 0 * ?"),
    Fault("a cancel is lost", _ASK.replace("(cancel|pause)", "cancel"), "UPDATE runs SET cancel_requested=0 * ? WHERE"),
    Fault("a pause is lost", _ASK.replace("(cancel|pause)", "pause"), "UPDATE runs SET pause_requested=0 * ? WHERE"),
    Fault(
        "claims are not counted",
        r"ELSE runs.claims_without_progress \+ \? END",
        "ELSE runs.claims_without_progress + 0 * ? END",
    ),
    Fault("a priority counts for nothing", _CLAIM + "runs.priority DESC, ", r"\1"),
    Fault(
        "a retry forgets to take the cancel back",
        r"(SET status=\?, )cancel_requested=\?(.*claims_without_progress=\?, best_update=\?)",
        r"\1cancel_requested=max(?, cancel_requested)\2",
    ),
    Fault("a row above the checkpoint stays", r"^DELETE FROM blocks(.*) > \?", r"DELETE FROM blocks\1 > ? + 1"),
    Fault(
        "a late start begins once more",
        r"^UPDATE runs SET started_claim=\?(?!, lease)",
        "UPDATE runs SET started_claim=0 * ?",
    ),
    Fault(
        "only the first checkpoint is named",
        r"checkpoint=\?, lease_until=\?, updates",
        "checkpoint=coalesce(checkpoint, ?), lease_until=?, updates",
    ),
    Fault("a lost run outlives its cancel", "AND runs.cancel_requested = 1", "AND runs.cancel_requested = 2"),
    Fault(
        "a restart forgives nobody",
        r"^UPDATE runs SET lease_until=\? WHERE runs.status",
        "UPDATE runs SET lease_until=max(0 * ?, lease_until) WHERE runs.status",
    ),
]


@contextmanager
def planted(scene: Stage, fault: Fault) -> Iterator[None]:
    """Let a fault into every statement that the services send."""

    def change(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> tuple[str, Any]:
        return fault.plant(statement), values

    engine = scene.services.database.engine
    event.listen(engine, "before_cursor_execute", change, retval=True)
    yield
    event.remove(engine, "before_cursor_execute", change)


def found(fault: Fault, home: Path, plays: int = 300) -> str:
    """Play with a planted fault; return how the two disagreed, or nothing where there was none."""
    how = settings(
        PLAYS, max_examples=plays, phases=[Phase.generate], database=None, derandomize=True,
        report_multiple_bugs=False, verbosity=Verbosity.quiet, print_blob=False,
    )  # fmt: skip
    fault.hits = 0
    with stage(Settings(home=home)) as scene, planted(scene, fault):
        try:
            play(scene, how)
        except OperationalError:
            raise  # the statement is none any more
        except (Exception, pytest.fail.Exception) as error:
            return (
                f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error) else type(error).__name__
            )
        finally:
            assert fault.hits, f"'{fault.name}' matches no statement any more"
    return ""


def main() -> None:
    """Plant, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plays", type=int, default=300, help="at most so many per fault (default 300)")
    parser.add_argument("--only", default="", help="only faults whose name holds this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    answer: dict[str, dict[str, Any]] = {}
    for fault in (fault for fault in FAULTS if given.only in fault.name):
        began = time.process_time()
        with tempfile.TemporaryDirectory() as home:
            word = found(fault, Path(home), given.plays)
        answer[fault.name] = {"found": bool(word), "by": word, "cpu_seconds": round(time.process_time() - began, 1)}
        if not given.json:
            print(
                f"{'found' if word else 'MISSED':7}{answer[fault.name]['cpu_seconds']:6.1f} s  {fault.name}: {word}"[
                    :150
                ]
            )
    count = sum(one["found"] for one in answer.values())
    print(json.dumps(answer) if given.json else f"{count} of {len(answer)} planted faults found")
    sys.exit(count < len(answer))


if __name__ == "__main__":
    main()
