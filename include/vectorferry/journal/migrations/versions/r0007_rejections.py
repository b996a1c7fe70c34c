"""Rejections: why the follower did not take a dirty record at the last try, and of which write that was."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE vectorferry.record_state
            ADD COLUMN rejection text,
            ADD COLUMN rejection_generation bigint
    """)
