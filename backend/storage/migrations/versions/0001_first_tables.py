"""Workers, experiments, runs, and the rows that runs report."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    _create_workers()
    _create_experiments()
    _create_runs()
    _create_updates()
    _create_blocks()


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.Column("catalog", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_seen_at"), "workers", ["seen_at"], unique=False)


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_experiments")),
        sa.UniqueConstraint("id", name=op.f("uq_experiments_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_experiments_idempotency_key")),
        sqlite_autoincrement=True,
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer(), nullable=False, comment="the order of the queue"),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("experiment", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=64), nullable=False, comment="what a worker must know"),
        sa.Column("data", sa.String(length=64), nullable=False, comment="what a worker must load"),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False, comment="grows by 1 at each claim"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column(
            "stalled", sa.Integer(), nullable=False, comment="claims since an attempt got further than any before"
        ),
        sa.Column("furthest", sa.Integer(), nullable=False, comment="the last update of the lost attempts' best"),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("worker", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("ended_by", sa.String(length=200), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("blocks", sa.Text(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("updates", sa.Integer(), nullable=False, comment="the last update stored; from here on the summary"),
        sa.Column("epoch", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("last_train_loss", sa.Double(), nullable=True),
        sa.Column("best_train_loss", sa.Double(), nullable=True),
        sa.Column("last_test_loss", sa.Double(), nullable=True),
        sa.Column("best_test_loss", sa.Double(), nullable=True),
        sa.Column("last_test_accuracy", sa.Double(), nullable=True),
        sa.Column("best_test_accuracy", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "status in ('queued', 'running', 'finished', 'failed', 'cancelled')", name=op.f("ck_runs_status")
        ),
        sa.ForeignKeyConstraint(
            ["experiment"], ["experiments.number"], name=op.f("fk_runs_experiment"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_experiment"), "runs", ["experiment"], unique=False)
    op.create_index(op.f("ix_runs_status_number"), "runs", ["status", "number"], unique=False)


def _create_updates() -> None:
    op.create_table(
        "updates",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("update", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Double(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=False),
        sa.Column("batch_loss", sa.Double(), nullable=True),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("test_loss", sa.Double(), nullable=True),
        sa.Column("test_accuracy", sa.Double(), nullable=True),
        sa.Column("gradient_norm", sa.Double(), nullable=True),
        sa.Column("step_norm", sa.Double(), nullable=True),
        sa.Column("diverged", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_updates_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "update", name=op.f("pk_updates")),
        sqlite_with_rowid=False,
    )


def _create_blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("update", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("block", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("cg_iterations", sa.Integer(), nullable=False),
        sa.Column("stop_reason", sa.String(length=16), nullable=False),
        sa.Column("residual", sa.Double(), nullable=True),
        sa.Column("model_decrease", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run"], ["runs.number"], name=op.f("fk_blocks_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run", "update", "block", name=op.f("pk_blocks")),
        sqlite_with_rowid=False,
    )
