"""A purge that has begun is marked, as it takes several transactions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; a column with a default is added without a copy of the table."""
    op.add_column("experiments", sa.Column("purging", sa.Boolean(), server_default=sa.false(), nullable=False))
