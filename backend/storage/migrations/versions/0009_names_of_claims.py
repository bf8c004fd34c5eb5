"""The counters of a run's claims get the names that the code uses; renaming a column copies no rows."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAMES = {
    "token": "claim_number",
    "attempts": "claims",
    "stalled": "claims_without_progress",
    "furthest": "best_update",
    "edition": "row_generation",
    "begun": "started_claim",
}
_COMMENTS = {
    "claims_without_progress": "claims since the best update last grew",
    "best_update": "the last update that a lost claim stored",
    "started_claim": "the claim whose start was accepted",
}


def upgrade() -> None:
    """Apply the change; SQLite has no comments on columns."""
    for old, new in _NAMES.items():
        op.execute(f"ALTER TABLE runs RENAME COLUMN {old} TO {new}")
    if op.get_bind().dialect.name == "postgresql":
        for name, comment in _COMMENTS.items():
            op.alter_column("runs", name, comment=comment, existing_type=sa.Integer(), existing_nullable=False)
