"""Traffic: how many operations each router carried out, and how many of them failed."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE vectorferry.traffic (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            migration text NOT NULL, cohort text NOT NULL, phase text NOT NULL, member text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(), operations bigint NOT NULL, failed bigint NOT NULL
        );
        CREATE INDEX traffic_time ON vectorferry.traffic (migration, cohort, phase, at);
    """)
