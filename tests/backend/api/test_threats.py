"""Tests of what an attacker sends: paths out of the store, giants, names that run code, signs that cannot be seen."""

import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx
import pytest

from backend.api.app import create_app
from backend.settings import Settings
from tests.backend.samples import INFO, catalog, spec
from tests.clients import BothClient
from tests.inprocess import api_description, backend

SPEC = spec().model_dump(mode="json")
SECRET = "not for strangers"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start one application with a worker for all of these tests, which do not change it."""
    with backend(Settings(home=tmp_path_factory.mktemp("home"))) as http:
        BothClient(http=http).register(INFO, catalog())
        yield http


def traversals(secret: Path) -> list[str]:
    """List 500 ways to name a file outside: dots, backslashes, NUL, UNC, drives, links, encoded up to three times."""
    steps = ["../", "..\\", "....//", "..;/", ".\\./", "..%c0%af", "..%ef%bc%8f", "/./../", "\u2025/", "%2e./"]
    targets = ["etc/passwd", str(secret)[1:], "blockhf.sqlite3", "tokens.json", "windows\\win.ini", "proc/self/environ"]
    plain = [step * depth + target for step in steps for depth in (1, 3, 8) for target in targets]
    others = [str(secret), f"file://{secret}", f"\\\\host\\share\\{secret.name}", "C:\\x", f"{secret}\x00.csv", "~/x"]
    names = [*plain, *others]
    levels = [lambda s: s, lambda s: quote(s, safe=""), lambda s: quote(quote(s, safe=""), safe="")]
    levels.append(lambda s: quote(quote(quote(s, safe=""), safe=""), safe=""))
    payloads = dict.fromkeys(level(name) for name, level in itertools.product(names, levels))
    return list(payloads)[:: max(1, len(payloads) // 500)][:500]


def places() -> list[tuple[str, str]]:
    """List every place of an id, as method and target with %s for it: each parameter of each path, and of queries."""
    found = [("GET", "%s"), ("GET", "runs/%s/%s"), ("GET", "paper/%s/%s")]
    for path, operations in api_description()["paths"].items():
        target = re.sub(r"{\w+}", "%s", path.removeprefix("/api/v1/"))
        for method, operation in operations.items():
            found += [(method.upper(), target)] if "%s" in target else []
            queries = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
            found += [(method.upper(), f"{target}?{name}=%s") for name in queries if name in {"runs", "before"}]
    return found


def test_every_place_of_an_id_is_known() -> None:
    """Those that read files by an id are among them."""
    known = places()
    assert len(known) > 25
    assert {("GET", f"runs/%s/{name}.safetensors") for name in ("weights", "checkpoint")} < set(known)


def test_no_path_leads_out_of_the_store(tmp_path: Path) -> None:
    """Each of 500 payloads in place of each ID is a 404, 405 or 422, and no file content is returned."""
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    folder = tmp_path / "checkpoints" / "linkedlink"
    folder.mkdir(parents=True)
    for name in ("weights.safetensors", "1-1.safetensors"):
        (folder / name).symlink_to(secret)
    payloads = [*traversals(secret), "linkedlink"]
    assert len(payloads) >= 500
    known = places()
    asked = [(method, f"/api/v1/{place}".replace("%s", one)) for one in payloads for method, place in known]
    statuses = anyio.run(_ask_all, Settings(home=tmp_path), asked)
    assert {status for status, _ in statuses} <= {400, 404, 405, 422}
    assert not any(SECRET.encode() in body or b"root:" in body for _, body in statuses)


async def _ask_all(settings: Settings, asked: list[tuple[str, str]]) -> list[tuple[int, bytes]]:
    """Send requests with raw targets, which a client would normalize."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        return [await _ask(app, method, target) for method, target in asked]


async def _ask(app: Any, method: str, target: str) -> tuple[int, bytes]:
    path, _, query = target.partition("?")
    raw = path.encode(errors="surrogatepass")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": httpx.URL("http://h/").copy_with(raw_path=raw.replace(b"?", b"")).path if raw.isascii() else path,
        "raw_path": raw, "query_string": query.encode(), "root_path": "", "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def nested(depth: int, inner: str = "0") -> str:
    """Wrap a value in lists."""
    return "[" * depth + inner + "]" * depth


GIANTS = {
    "wide layer": json.dumps(SPEC | {"problem": SPEC["problem"] | {"options": {"hidden": 10**9}}}),
    "wider layer": json.dumps(SPEC | {"problem": SPEC["problem"] | {"options": {"hidden": 10**40}}}),
    "digits": '{"seeds": [1%s]}' % ("0" * 100_000),
    "exponent": '{"budget": {"seconds": 1e308}}',
    "infinity": '{"budget": {"seconds": 1e400}}',
    "not a number": '{"budget": {"seconds": NaN}}',
    "updates": json.dumps(SPEC | {"budget": {"updates": 10**12}}),
    "batch": json.dumps(SPEC | {"optimizers": [{"kind": "adam", "gradient_batch": 10**12}]}),
    "deep": f'{{"seeds": {nested(100_000)}}}',
    "deep in options": json.dumps(SPEC)[:-1] + f', "problem": {{"options": {{"a": {nested(5_000)}}}}}}}',
    "many optimizers": json.dumps(SPEC | {"optimizers": [{"kind": "adam", "eps": n / 1e6} for n in range(1, 9_000)]}),
    "many seeds": json.dumps(SPEC | {"seeds": list(range(100_000))}),
    "many options": json.dumps(SPEC | {"problem": {"options": {f"o{n}": n for n in range(20_000)}}}),
    "many blocks": json.dumps(
        SPEC | {"optimizers": [{"kind": "bhf", "partition": {"kind": "explicit", "blocks": [["a"]] * 20_000}}]}
    ),
    "long name": json.dumps(SPEC | {"name": "x" * 900_000}),
    "many keys": json.dumps(SPEC | {f"o{n}": n for n in range(20_000)}),
    "long key": json.dumps(SPEC | {"x" * 900_000: 1}),
}


@pytest.mark.parametrize("content", GIANTS.values(), ids=GIANTS)
@pytest.mark.parametrize("path", ["/experiments", "/experiments/check"])
def test_giants_are_refused(http: httpx.Client, path: str, content: str) -> None:
    """A configuration that no worker can train is a short 4xx within half a second of processing."""
    times = []
    for _ in range(5):
        began = time.process_time()
        answer = http.post(f"/api/v1{path}", content=content, headers={"Content-Type": "application/json"})
        times.append(time.process_time() - began)
    assert min(times) < 0.5
    assert answer.status_code in {400, 422}
    assert len(answer.content) < 100_000
    assert BothClient(http=http).experiments() == []


CODE = [
    "os.system", "builtins.eval", "subprocess.popen", "torch.load", "pickle", "worker.problems.registry:discover",
    "__import__('os').system('id')", "../plugin", "autoencoder; rm -rf /", "$(id)", "`id`", "a.b:c", "\u0430utoencoder",
    "{{7*7}}", "%s%n", "squeeze\x00", "squeeze\n",
]  # fmt: skip


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("field", ["name", "data"])
def test_names_are_looked_up_never_run(http: httpx.Client, field: str, name: str) -> None:
    """A problem or data set that no worker announced is a 422 with the field, whatever its name contains."""
    answer = http.post("/api/v1/experiments", json=SPEC | {"problem": SPEC["problem"] | {field: name}})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [f"problem.{field}"]


@pytest.mark.parametrize(
    "sign", ["\x00", "\x07", "\x1b[2J", "\n", "\t", "\r", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"]
)
def test_names_have_no_hidden_signs(http: httpx.Client, sign: str) -> None:
    """What moves a terminal's cursor, breaks a line or turns the direction of writing is refused in a name."""
    answer = http.post("/api/v1/experiments/check", json=SPEC | {"name": f"a{sign}b"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["name"]


@pytest.mark.parametrize(
    "name", ["Adam gegen HF", "\u6bd4\u8f83", "\U0001f469\u200d\U0001f52c", "<b>a</b> & 'b'", "caf\u00e9"]
)
def test_names_of_people_pass(http: httpx.Client, name: str) -> None:
    """Letters of any script, signs and emoji are a name."""
    assert http.post("/api/v1/experiments/check", json=SPEC | {"name": name}).status_code == 200
