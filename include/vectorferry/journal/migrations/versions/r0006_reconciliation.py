"""Reconciliation: what was compared, how far, and what was found."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vectorferry.reconciliation (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            migration text NOT NULL REFERENCES vectorferry.migration (name), scope text NOT NULL, run_id text NOT NULL,
            worker text NOT NULL, began_at timestamptz NOT NULL DEFAULT clock_timestamp(), ended_at timestamptz, outcome text,
            state text NOT NULL, figures text
        );
        CREATE INDEX reconciliation_migration ON vectorferry.reconciliation (migration, id);
    """)
