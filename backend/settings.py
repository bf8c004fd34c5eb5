"""Every environment variable, with its default and meaning."""

import os
import re
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.errors import FieldError, InvalidInput, from_validation

MIN_HEARTBEATS = 3
"""so many must fail before a living worker loses its run"""

_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""what stands for all of a machine's addresses, and the one by which the machine itself reaches it"""


_NO_RATES = "requests are no longer limited, only failed logins are; unset it"
REPLACED = {
    "address_rate": _NO_RATES,
    "checkpoint_bytes": "it was renamed; set BLOCKHF_CHECKPOINT_QUOTA_BYTES instead",
    "demo": "it was renamed; set BLOCKHF_QUEUE_DEMO instead",
    "hang_seconds": "it was renamed; set BLOCKHF_STALL_TIMEOUT_SECONDS instead",
    "open_network": "it was renamed; set BLOCKHF_ALLOW_UNAUTHENTICATED_NETWORK instead",
    "token_rate": _NO_RATES,
}
"""Variables of earlier versions, and what to do with each; one that is set is refused."""


class Settings(BaseSettings):
    """Read from the environment: `Settings().port` is BLOCKHF_PORT. Build it in a main function and pass it down."""

    model_config = SettingsConfigDict(env_prefix="BLOCKHF_", extra="forbid")

    home: Path = Field(Path(".blockhf"), description="folder of the database, fetched data sets and checkpoints")
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in BLOCKHF_HOME")
    host: str = Field("127.0.0.1", description="address the backend binds to")
    port: int = Field(8700, ge=0, le=65535, description="the backend's port")
    dashboard_host: str = Field("127.0.0.1", description="address the dashboard binds to")
    dashboard_port: int = Field(8701, ge=0, le=65535, description="the dashboard's port")
    backend_url: str = Field("", description="where the others find the backend; empty: host and port above")
    allowed_hosts: str = Field(
        "127.0.0.1,localhost,[::1]",
        description="names a request may give in its Host header, without port, beside the address that is bound to",
    )
    token: SecretStr = Field(SecretStr(""), description="token to give; the backend lets it do everything")
    allow_unauthenticated_network: bool = Field(
        False, description="let the backend listen beyond this machine without any token"
    )
    heartbeat_seconds: float = Field(2, gt=0, description="how often a worker says that it is alive")
    lease_seconds: float = Field(
        30, gt=0, description="a worker not heard of for this long loses its run; at least 3 heartbeats"
    )
    max_attempts: int = Field(5, ge=1, description="claims of one run without progress until it is failed")
    checkpoint_seconds: float = Field(60, gt=0, description="how often a run's state is saved, to go on from")
    checkpoint_quota_bytes: int = Field(
        20 * 10**9, ge=0, description="limit on all runs' checkpoints and final weights together"
    )
    stall_timeout_seconds: float = Field(
        60, gt=0, description="a run without an update for this long, and 20 times its longest update, is ended"
    )
    max_queued: int = Field(10_000, ge=1, description="runs that may wait at once")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="largest request body")
    max_import_bytes: int = Field(
        100_000_000, ge=1000, description="largest body of an import; 100,000 updates take about 20 MB"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="what the backend logs; info: each change"
    )
    log_format: Literal["text", "json"] = Field("text", description="json: one object per line")
    queue_demo: bool = Field(True, description="queue a small comparison on an empty database (`blockhf up`)")

    @model_validator(mode="before")
    @classmethod
    def _add_replaced(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Add replaced variables that are set, which are then refused as fields that do not exist."""
        names = {name: f"{cls.model_config['env_prefix']}{name}".upper() for name in REPLACED}
        return {name: os.environ[variable] for name, variable in names.items() if variable in os.environ} | given

    @field_validator("backend_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        parts = urlsplit(url)  # its errors, and the port's, are of the kind that a validator raises
        if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0):
            raise ValueError("must be like http://host:8700, or empty")
        return url

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch("([!-~]([ -~]*[!-~])?)?", token.get_secret_value()):
            raise ValueError("must be printable ASCII characters, spaces only between them, to stand in a header")
        return token

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_heartbeats(cls, lease: float, others: ValidationInfo) -> float:
        heartbeat = others.data.get("heartbeat_seconds", 0.0)
        if lease < MIN_HEARTBEATS * heartbeat:
            least = f"{MIN_HEARTBEATS * heartbeat:g}, {MIN_HEARTBEATS} times BLOCKHF_HEARTBEAT_SECONDS ({heartbeat:g})"
            raise ValueError(f"must be at least {least}")
        return lease

    @property
    def url(self) -> str:
        """The database's SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.home / 'blockhf.sqlite3'}"

    @property
    def api(self) -> str:
        """The backend's base URL."""
        return self.backend_url or _url(self.host, self.port)

    @property
    def authorization(self) -> dict[str, str]:
        """The header that requests to the backend need."""
        token = self.token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def names(self, host: str) -> list[str]:
        """Return the names by which a process bound to `host` may be called; by all addresses, none is its own."""
        own = "" if host in _ALL else f"[{host}]" if ":" in host else host
        return list(dict.fromkeys(name.strip() for name in (*self.allowed_hosts.split(","), own) if name.strip()))

    @property
    def dashboard(self) -> str:
        """The dashboard's base URL, as `blockhf` on the same machine reaches it."""
        return _url(self.dashboard_host, self.dashboard_port)


def from_environment() -> Settings:
    """Read the settings of a process of its own; where some are wrong, end it with a line for each."""
    try:
        return Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"error: {fault}" for fault in faults(error).errors))


def faults(error: ValidationError) -> InvalidInput:
    """Name each variable that is wrong, its value, and what it may be."""
    return InvalidInput([_fault(fault) for fault in from_validation(error).errors])


def _fault(fault: FieldError) -> FieldError:
    field = Settings.model_fields.get(fault.field)
    words = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}
    bounds = [
        f"{word} {getattr(bound, kind.__name__.lower())}"
        for bound in (field.metadata if field else ())
        for kind, word in words.items()
        if isinstance(bound, kind)
    ]
    if fault.field in REPLACED:
        fault = FieldError(fault.field, fault.value, REPLACED[fault.field])
    no_number = fault.limit.startswith("Input should be a valid")
    limit = f"{fault.limit} ({', '.join(bounds)})" if bounds and no_number else fault.limit
    value = "***" if fault.field == "token" else fault.value
    return FieldError(f"{Settings.model_config['env_prefix']}{fault.field}".upper(), value, limit)


def _url(host: str, port: int) -> str:
    """Return where a process bound to `host` is reached from its own machine: a wildcard address by loopback."""
    host = _ALL.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
