"""Shadow reads: what routers find on the follower, and since when a record has been equal on both sides."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vectorferry.shadow_read (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            migration text NOT NULL, cohort text NOT NULL, phase text NOT NULL, member text NOT NULL, kind text NOT NULL,
            began_at timestamptz NOT NULL, ended_at timestamptz NOT NULL, figures text NOT NULL
        );
        CREATE INDEX shadow_read_time ON vectorferry.shadow_read (migration, phase, began_at);
        ALTER TABLE vectorferry.record_state ADD COLUMN cleaned_at timestamptz;
    """)
