"""What a claim needs to know: how a comparison is scheduled, on which devices, and what a run needs of the memory."""

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; comparisons of before race, as new ones do by default."""
    op.add_column("experiments", sa.Column("schedule", sa.String(length=16), server_default="race", nullable=False))
    op.add_column(
        "experiments",
        sa.Column(
            "device", sa.String(length=16), server_default="auto", nullable=False, comment="what its runs ask for"
        ),
    )
    op.add_column(
        "experiments",
        sa.Column(
            "device_kind", sa.String(length=16), nullable=True, comment="of the worker that trained its first run"
        ),
    )
    op.add_column("runs", sa.Column("memory", sa.BigInteger(), nullable=True, comment="what it needs at least [bytes]"))
    connection = op.get_bind()
    experiments = sa.table("experiments", sa.column("number"), sa.column("spec"), sa.column("device"))
    for number, spec in connection.execute(sa.select(experiments.c.number, experiments.c.spec)).all():
        device = orjson.loads(spec).get("device", "auto")
        if device != "auto":
            connection.execute(experiments.update().where(experiments.c.number == number).values(device=device))
