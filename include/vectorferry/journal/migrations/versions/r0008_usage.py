"""Usage: what each session of a run cost, so that the evidence can state the sum."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vectorferry.usage (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, migration text NOT NULL, run_id text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(), requests bigint NOT NULL, retries bigint NOT NULL,
            throttled bigint NOT NULL, read_units double precision NOT NULL, write_units double precision NOT NULL,
            paced_seconds double precision NOT NULL
        );
        CREATE INDEX usage_run ON vectorferry.usage (migration, run_id);
    """)
