"""Experiments get a note, tags, an archive and a mark of deletion; what a user fills a form with can be saved."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; a column with a default is added without a copy of the table."""
    op.add_column("experiments", sa.Column("note", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "experiments",
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False, comment="a JSON list of slugs"),
    )
    op.add_column("experiments", sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column(
        "experiments",
        sa.Column("deleted_at", sa.Double(), nullable=True, comment="a mark: nothing is removed before a purge"),
    )
    op.create_table(
        "presets",
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_presets")),
    )
