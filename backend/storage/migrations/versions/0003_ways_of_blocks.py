"""Blocks report how their curvature was multiplied, what that cost, and the spectrum's ends; old rows have nulls."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; a column that may be null is added without a copy of the table."""
    op.add_column("blocks", sa.Column("way", sa.String(length=64), nullable=True))
    op.add_column("blocks", sa.Column("note", sa.String(length=500), nullable=True))
    for name in ("cost", "predicted_cost", "ritz_min", "ritz_max"):
        op.add_column("blocks", sa.Column(name, sa.Double(), nullable=True))
