"""The tables. Times are seconds since 1970 on the server's clock; documents are JSON text as the schema writes it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)

from backend.schemas.measures import BLOCK_MEASURES, UPDATE_MEASURES, Measure

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

WORKERS = Table(
    "workers",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("info", Text, nullable=False),
    Column("catalog", Text, nullable=False),
    Column("registered_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False, index=True),
)

EXPERIMENTS = Table(
    "experiments",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("idempotency_key", String(200), unique=True),
    Column("created_at", Double, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]", comment="a JSON list of slugs"),
    Column("archived", Boolean, nullable=False, server_default=false()),
    Column("deleted_at", Double, comment="a mark: nothing is removed before a purge"),
    Column("purging", Boolean, nullable=False, server_default=false()),
    Column("schedule", String(16), nullable=False, server_default="race"),
    Column("device", String(16), nullable=False, server_default="auto", comment="what its runs ask for"),
    Column("device_kind", String(16), comment="of the worker that trained its first run"),
    sqlite_autoincrement=True,
)

PRESETS = Table(
    "presets",
    METADATA,
    Column("slug", String(64), primary_key=True),
    Column("title", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("saved_at", Double, nullable=False),
)

RUNS = Table(
    "runs",
    METADATA,
    Column("number", Integer, primary_key=True, comment="the order of the queue"),
    Column("id", String(32), nullable=False, unique=True),
    Column("experiment", Integer, ForeignKey("experiments.number", ondelete="CASCADE"), nullable=False, index=True),
    Column("problem", String(64), nullable=False, comment="what a worker must know"),
    Column("data", String(64), nullable=False, comment="what a worker must load"),
    Column("config", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("pause_requested", Boolean, nullable=False, server_default=false()),
    Column("priority", SmallInteger, nullable=False, server_default="0", comment="higher goes first"),
    Column("claim_number", Integer, nullable=False, default=0, comment="grows by 1 at each claim"),
    Column("claims", Integer, nullable=False, default=0),
    Column(
        "claims_without_progress", Integer, nullable=False, default=0, comment="claims since the best update last grew"
    ),
    Column("best_update", Integer, nullable=False, default=0, comment="the last update that a lost claim stored"),
    Column("row_generation", Integer, nullable=False, server_default="0", comment="grows when rows are dropped"),
    Column("started_claim", Integer, nullable=False, server_default="0", comment="the claim whose start was accepted"),
    Column("checkpoint", Text),
    Column("notes", Text, nullable=False, server_default="[]"),
    Column("weights", String(64), comment="SHA-256 of the final weights' file"),
    Column("memory", BigInteger, comment="what it needs at least [bytes]"),
    Column("lease_until", Double),
    Column("worker", String(32)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("ended_by", String(200), nullable=False, default=""),
    Column("error", Text),
    Column("environment", Text, nullable=False, default="{}"),
    Column("blocks", Text, nullable=False, default="[]"),
    Column("parameters", BigInteger),
    Column("updates", Integer, nullable=False, default=0, comment="the last update stored; from here on the summary"),
    Column("epoch", Double, nullable=False, default=0.0),
    Column("seconds", Double, nullable=False, default=0.0),
    Column("cost", Double, nullable=False, default=0.0),
    Column("last_train_loss", Double),
    Column("best_train_loss", Double),
    Column("last_test_loss", Double),
    Column("best_test_loss", Double),
    Column("last_test_accuracy", Double),
    Column("best_test_accuracy", Double),
    CheckConstraint("status in ('queued', 'running', 'paused', 'finished', 'failed', 'cancelled')", name="status"),
    Index(None, "status", "number"),
    sqlite_autoincrement=True,
)

_TYPES = {"number": Double, "integer": BigInteger, "flag": SmallInteger, "text": Text}


def _columns(measures: Mapping[str, Measure]) -> list[Column[Any]]:
    """Return a column for each measure but the update's number, which is part of the key."""
    return [Column(m.name, _TYPES[m.kind], nullable=m.optional) for m in measures.values() if m.name != "update"]


# The key of both: a repeated request cannot duplicate a row, and the rows of a run are stored together.
UPDATES = Table(
    "updates",
    METADATA,
    Column("run", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("update", Integer, primary_key=True, autoincrement=False),
    *_columns(UPDATE_MEASURES),
    sqlite_with_rowid=False,
)

BLOCKS = Table(
    "blocks",
    METADATA,
    Column("run", Integer, ForeignKey("runs.number", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("update", Integer, primary_key=True, autoincrement=False),
    Column("block", SmallInteger, primary_key=True, autoincrement=False),
    *_columns(BLOCK_MEASURES),
    sqlite_with_rowid=False,
)
