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
"""Heartbeats within a lease at least: a live worker may miss all but one of them."""

_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Wildcard bind addresses, and the loopback address that reaches each from the same machine."""


_NO_RATES = "only failed logins are limited now; unset it"
REPLACED = {
    "address_rate": _NO_RATES,
    "checkpoint_bytes": "it was renamed; set BLOCKHF_CHECKPOINT_QUOTA_BYTES instead",
    "demo": "it was renamed; set BLOCKHF_QUEUE_DEMO instead",
    "max_attempts": "it was renamed; set BLOCKHF_MAX_CLAIMS_WITHOUT_PROGRESS instead",
    "hang_seconds": "it was renamed; set BLOCKHF_STALL_TIMEOUT_SECONDS instead",
    "open_network": "it was renamed; set BLOCKHF_ALLOW_UNAUTHENTICATED_NETWORK instead",
    "token_rate": _NO_RATES,
}
"""Variables of earlier versions, which are refused, and what to do instead."""


class Settings(BaseSettings):
    """Settings from environment variables: `port` is BLOCKHF_PORT. Created in a main function and passed on."""

    model_config = SettingsConfigDict(env_prefix="BLOCKHF_", extra="forbid")

    home: Path = Field(Path(".blockhf"), description="folder of the database, downloaded data sets and checkpoints")
    database_url: str = Field("", description="SQLAlchemy URL of the database; empty: a SQLite file in BLOCKHF_HOME")
    host: str = Field("127.0.0.1", description="address the backend binds to")
    port: int = Field(8700, ge=0, le=65535, description="the backend's port")
    dashboard_host: str = Field("127.0.0.1", description="address the dashboard binds to")
    dashboard_port: int = Field(8701, ge=0, le=65535, description="the dashboard's port")
    backend_url: str = Field(
        "", description="URL by which other processes reach the backend; empty: BLOCKHF_HOST and BLOCKHF_PORT"
    )
    dashboard_read_only: bool = Field(
        False, description="the dashboard launches and changes nothing; `blockhf share` sets it"
    )
    allowed_hosts: str = Field(
        "127.0.0.1,localhost,[::1]",
        description="accepted Host header names, without port (the bind address is always accepted)",
    )
    token: SecretStr = Field(
        SecretStr(""), description="token for requests to the backend, which accepts it with every scope"
    )
    allow_unauthenticated_network: bool = Field(
        False, description="allow other machines to connect although no token is required"
    )
    heartbeat_seconds: float = Field(2, gt=0, description="interval between the heartbeats of a worker [s]")
    lease_seconds: float = Field(
        30, gt=0, description="a worker that sends no heartbeat for this long loses its run [s]; at least 3 heartbeats"
    )
    max_claims_without_progress: int = Field(5, ge=1, description="a run fails after this many claims without progress")
    checkpoint_seconds: float = Field(60, gt=0, description="interval between the checkpoints of a run [s]")
    checkpoint_quota_bytes: int = Field(
        20 * 10**9, ge=0, description="maximum size of all checkpoints and final weights together [bytes]"
    )
    stall_timeout_seconds: float = Field(
        60, gt=0, description="end a run that reports no update for this long [s] and for 20 times its longest update"
    )
    slots: int = Field(
        8, ge=1, le=64, description="a worker holds at most this many runs at once, fewer if its memory is too small"
    )
    max_queued: int = Field(10_000, ge=1, description="maximum number of queued runs")
    max_body_bytes: int = Field(1_000_000, ge=1000, description="maximum size of a request body [bytes]")
    max_import_bytes: int = Field(
        100_000_000, ge=1000, description="maximum body size of an import [bytes]; 100,000 updates take about 20 MB"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="log level of the backend; info logs every change"
    )
    log_format: Literal["text", "json"] = Field("text", description="log format; json: one object per line")
    queue_demo: bool = Field(True, description="`blockhf up` queues a small comparison if the database is empty")

    @model_validator(mode="before")
    @classmethod
    def _add_replaced(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Pass on replaced variables that are set; they are then refused as unknown fields."""
        names = {name: f"{cls.model_config['env_prefix']}{name}".upper() for name in REPLACED}
        return {name: os.environ[variable] for name, variable in names.items() if variable in os.environ} | given

    @field_validator("backend_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        parts = urlsplit(url)  # raises ValueError, as does `port`
        if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0):
            raise ValueError("must be like http://host:8700, or empty")
        return url

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch("([!-~]([ -~]*[!-~])?)?", token.get_secret_value()):
            raise ValueError("must be printable ASCII characters without leading or trailing spaces")
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
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.home / 'blockhf.sqlite3'}"

    @property
    def api(self) -> str:
        """Base URL of the backend."""
        return self.backend_url or _url(self.host, self.port)

    @property
    def authorization(self) -> dict[str, str]:
        """The headers that authorize requests to the backend."""
        token = self.token.get_secret_value()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def names(self, host: str) -> list[str]:
        """Return the accepted Host header names of a process bound to `host`: a wildcard address is not one of them."""
        own = "" if host in _ALL else f"[{host}]" if ":" in host else host
        return list(dict.fromkeys(name.strip() for name in (*self.allowed_hosts.split(","), own) if name.strip()))

    @property
    def dashboard(self) -> str:
        """Base URL by which the same machine reaches the dashboard."""
        return _url(self.dashboard_host, self.dashboard_port)


def from_environment() -> Settings:
    """Return the settings of this process; exit with one line per invalid variable."""
    try:
        return Settings()
    except ValidationError as error:
        sys.exit("\n".join(f"error: {fault}" for fault in faults(error).errors))


def faults(error: ValidationError) -> InvalidInput:
    """Return the invalid variables, with value and limit."""
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
    """Return the URL by which the same machine reaches a process bound to `host`."""
    host = _ALL.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
