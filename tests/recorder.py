"""A proxy between workers and a backend that notes which claim each write came with and how it was answered."""

import json
import threading
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_PASSED_ON = ("content-type", "authorization")


@dataclass(frozen=True)
class Write:
    """A request of a worker that names a claim."""

    run_id: str
    claim_number: int
    path: str
    status: int
    late: bool
    """Whether the run had been given to another worker before the request was passed on."""


class Recorder:
    """Passes requests on, one thread each; `url` is where workers find it."""

    def __init__(self, backend: str) -> None:
        self.writes: list[Write] = []
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        recorder, address = self, urlsplit(backend)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._pass()

            def do_POST(self) -> None:
                self._pass()

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
                late = recorder._is_late(self.path, body)
                connection = HTTPConnection(str(address.hostname), int(address.port or 80), timeout=30)
                try:
                    connection.request(self.command, self.path, body or None, sent)
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, HTTPException):  # the backend is away; so are we
                    self.close_connection = True
                    return
                finally:
                    connection.close()
                recorder._note(self.path, body, answer.status, content, late)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A worker that was killed has broken its connection."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def late(self) -> list[Write]:
        """Return the writes of workers whose run another one had by then."""
        with self._lock:
            return [write for write in self.writes if write.late]

    def stop(self) -> None:
        """Pass on nothing more."""
        self._server.shutdown()
        self._server.server_close()

    def _is_late(self, path: str, body: bytes) -> bool:
        run_id, claim_number = _named(path, body)
        with self._lock:
            return claim_number is not None and self._newest.get(run_id, 0) > claim_number

    def _note(self, path: str, body: bytes, status: int, content: bytes, late: bool) -> None:
        run_id, claim_number = _named(path, body)
        with self._lock:
            if claim_number is not None:
                self.writes.append(Write(run_id, claim_number, path.rpartition("/")[2], status, late))
            elif path.endswith("/claim") and status == 200 and (claim := _document(content)):
                self._newest[claim["run"]["id"]] = claim["claim_number"]


def _named(path: str, body: bytes) -> tuple[str, int | None]:
    """Return run and claim number of a worker's write."""
    parts = path.split("/")
    document = _document(body) if "runs" in parts else None
    claim_number = document.get("claim_number") if isinstance(document, dict) else None
    return (parts[parts.index("runs") + 1], claim_number) if claim_number is not None else ("", None)


def _document(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except ValueError:
        return None
