"""Alembic runs this file: apply the changes over the connection that the database hands over."""

from alembic import context

from backend.storage.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
