"""Living reconciliations: until when one is taken to live, and what it keeps once, apart from what it keeps after each step."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE vectorferry.reconciliation
            ADD COLUMN alive_until timestamptz NOT NULL DEFAULT clock_timestamp(), ADD COLUMN setting text NOT NULL DEFAULT '{}';
    """)
