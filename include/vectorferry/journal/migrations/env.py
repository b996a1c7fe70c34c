"""Runs the migrations on the connection that `schema.upgrade` hands over."""

from alembic import context

from vectorferry.journal.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
context.run_migrations()
