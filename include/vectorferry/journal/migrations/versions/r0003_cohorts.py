"""Cohorts: which namespaces are cut over together, in which order."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE vectorferry.control
            ADD COLUMN position bigint NOT NULL DEFAULT 0,
            ADD COLUMN patterns text NOT NULL DEFAULT '["*"]'
    """)
