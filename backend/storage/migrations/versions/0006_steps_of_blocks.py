"""Blocks report the norm of their part of the step; old rows have null."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; a column that may be null is added without a copy of the table."""
    op.add_column("blocks", sa.Column("step_norm", sa.Double(), nullable=True))
