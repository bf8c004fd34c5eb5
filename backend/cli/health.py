"""A health check without the imports of the other commands: they would take ten times as much processor time.

It reads only the variables that it needs. `backend.operations.supervisor.answers` does the same with checked settings.
"""

import json
import os
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

SERVICES = ("backend", "worker", "dashboard")
_PATHS = {"backend": "/api/v1/ready", "worker": "/api/v1/catalog", "dashboard": "/healthz"}
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
TIMEOUT = 2.0
"""Time to wait for a response [s]."""


def url(service: str, environment: Mapping[str, str]) -> str:
    """Return the URL that shows whether a service is ready."""
    prefix, port = ("DASHBOARD_", "8701") if service == "dashboard" else ("", "8700")
    host = environment.get(f"BLOCKHF_{prefix}HOST", "127.0.0.1")
    host = _LOCAL.get(host, host)
    base = f"http://{f'[{host}]' if ':' in host else host}:{environment.get(f'BLOCKHF_{prefix}PORT', port)}"
    if service != "dashboard":
        base = environment.get("BLOCKHF_BACKEND_URL") or base
    return base + _PATHS[service]


def check(service: str) -> bool | None:
    """Return whether a service is ready; None if the answer needs an explanation, which the complete command gives.

    The backend must be able to read its database, a worker must be alive, and the dashboard must respond.
    """
    try:
        parts = urlsplit(url(service, os.environ))
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        token = os.environ.get("BLOCKHF_TOKEN") if service == "worker" else None
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        body = response.read()
    except (KeyError, ValueError):
        return None  # an invalid variable
    except (OSError, HTTPException):
        return False
    if response.status in {401, 403}:
        return None
    if response.status != 200 or service != "worker":
        return bool(200 <= response.status < 300)
    alive: list[bool] = [worker["alive"] for worker in json.loads(body)["workers"]]
    return any(alive)
