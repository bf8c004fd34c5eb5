"""How a block's products were computed is its product method."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the column; its values stay."""
    op.execute("ALTER TABLE blocks RENAME COLUMN way TO product_method")
