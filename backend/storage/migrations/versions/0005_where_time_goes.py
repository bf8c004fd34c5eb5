"""Updates report where their time went and how their step was accepted; old rows have nulls."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ADDED = (
    "cpu_seconds", "gradient_seconds", "curvature_seconds", "evaluation_seconds", "scale", "reduction_ratio",
    "loss_decrease",
)  # fmt: skip


def upgrade() -> None:
    """Apply the change; a column that may be null is added without a copy of the table."""
    for name in _ADDED:
        op.add_column("updates", sa.Column(name, sa.Double(), nullable=True))
