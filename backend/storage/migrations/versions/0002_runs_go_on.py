"""Runs can pause, go on from a checkpoint, and stand in line by priority."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATUS = "status in ('queued', 'running', 'paused', 'finished', 'failed', 'cancelled')"


def upgrade() -> None:
    """Apply the change; a claim that is held counts as begun, and readers keep the edition that they know."""
    with op.batch_alter_table("runs", table_kwargs={"sqlite_autoincrement": True}) as runs:
        runs.drop_constraint(op.f("ck_runs_status"), type_="check")
        runs.create_check_constraint(op.f("ck_runs_status"), _STATUS)
        runs.add_column(sa.Column("pause_requested", sa.Boolean(), server_default=sa.false(), nullable=False))
        runs.add_column(
            sa.Column("priority", sa.SmallInteger(), server_default="0", nullable=False, comment="higher goes first")
        )
        runs.add_column(
            sa.Column(
                "edition", sa.Integer(), server_default="0", nullable=False, comment="grows when rows are dropped"
            )
        )
        runs.add_column(
            sa.Column(
                "begun", sa.Integer(), server_default="0", nullable=False, comment="the token whose start was taken"
            )
        )
        runs.add_column(sa.Column("checkpoint", sa.Text(), nullable=True))
        runs.add_column(sa.Column("notes", sa.Text(), server_default="[]", nullable=False))
        runs.add_column(
            sa.Column("weights", sa.String(length=64), nullable=True, comment="SHA-256 of the final weights' file")
        )
    op.execute("UPDATE runs SET edition = attempts, begun = token")
