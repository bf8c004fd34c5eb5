"""Cases that schemathesis makes of the API's description: no server error, no answer that is not described.

BLOCKHF_CASES says about how many (300 by default, always the same ones); `make schemathesis` takes 10,000 random
ones. Calls that take nothing have few cases; those that take something share the number evenly.
"""

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from backend.schemas.measures import AXES, BLOCK_FIELDS, MEASURES
from backend.settings import Settings
from tests.backend.samples import INFO, catalog, spec, updates
from tests.clients import BothClient
from tests.inprocess import api_description, backend


def _takes_something(operation: Any) -> bool:
    return bool(any(operation.iter_parameters()) or operation.body)


pytestmark = pytest.mark.slow
SCHEMA = schemathesis.openapi.from_dict(api_description())
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
IMPORT = "POST /api/v1/imports"
HEAVY = {"POST /api/v1/workers"}
KINDS = [
    (label, mode)
    for label, operation in sorted(OPERATIONS.items())
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or _takes_something(operation)
]
VARIED = [label for label, _ in KINDS if label not in HEAVY and _takes_something(OPERATIONS[label])]
CASES = int(os.environ.get("BLOCKHF_CASES", "300"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


CELLS = st.one_of(st.just(""), st.integers().map(str), st.floats().map(repr), st.text(max_size=5))
COLUMNS = [*AXES, *MEASURES, "diverged", *(f"block{n}_{name}" for n in (0, 999) for name in BLOCK_FIELDS[:2])]


@st.composite
def histories(draw: st.DrawFn) -> str:
    """Write CSV that is nearly a history: known columns, updates in order, and any cells."""
    names = [draw(st.sampled_from(MEASURES)), *draw(st.lists(st.sampled_from(COLUMNS), max_size=3))]
    first, count = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    cells = draw(st.sampled_from([CELLS, st.floats(0, 1e9).map(repr)]))
    rows = [[str(first + n), *(draw(cells) for _ in names)] for n in range(count)]
    written = StringIO()
    csv.writer(written).writerows([["update", *names], *rows])
    return written.getvalue()


@dataclass
class Running:
    """An application that has an experiment, a run that is held, and a worker; their ids by parameter."""

    http: httpx.Client
    known: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start one application for all cases."""
    with backend(Settings(home=tmp_path_factory.mktemp("home"))) as http:
        client = BothClient(http=http)
        worker = client.register(INFO, catalog()).worker_id
        client.launch(spec())
        claim = client.claim(worker)
        assert claim is not None
        client.append(claim.run.id, claim.claim_number, updates(1, 20))
        client.save_preset("known", "Known", spec())
        # Deleting cancels, so the experiment that is deleted is not the one whose run is held.
        other = client.launch(spec(name="other"))
        known = {"run_id": claim.run.id, "experiment_id": other.id, "worker_id": worker, "slug": "known"}
        yield Running(http, known)


@pytest.mark.parametrize(("label", "mode"), KINDS)
def test_every_answer_is_described(running: Running, label: str, mode: GenerationMode) -> None:
    """Whatever follows the description, or breaks it, gets an answer that the description has."""
    share = math.ceil(CASES / len(VARIED))

    @settings(
        max_examples=max(2, share // 10) if label in HEAVY else share,
        deadline=None,
        database=None,
        derandomize="BLOCKHF_CASES" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=OPERATIONS[label].as_strategy(generation_mode=mode),
        existing=st.booleans(),
        history=histories() if label == IMPORT else st.none(),
    )
    def ask(case: Any, existing: bool, history: str | None) -> None:
        if existing:
            case.path_parameters |= {n: i for n, i in running.known.items() if n in case.path_parameters}
        if existing and history is not None and isinstance(case.body, dict):
            case.body |= {"csv": history}
        request = case.as_transport_kwargs(base_url="http://127.0.0.1")
        request.pop("cookies", None)
        if isinstance(request.get("data"), bytes):
            request["content"] = request.pop("data")
        answer = running.http.request(**request)
        answer.elapsed = timedelta(0)  # unknown to a transport without a network
        case.validate_response(answer, checks=CHECKS)

    ask()
