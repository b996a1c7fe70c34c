"""Samples: latency and backlog over time. Traffic gains the times that routers measured, which older ones leave out."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vectorferry.sample (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            migration text NOT NULL, kind text NOT NULL, scope text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(), figures text NOT NULL
        );
        CREATE INDEX sample_time ON vectorferry.sample (migration, kind, at);
        ALTER TABLE vectorferry.traffic ADD COLUMN latencies text;
    """)
