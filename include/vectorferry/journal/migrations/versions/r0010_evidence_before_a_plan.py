"""Evidence before a plan: an approver may be asked before there is one, as when a router has to be forgotten."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("ALTER TABLE vectorferry.evidence ALTER COLUMN plan_id DROP NOT NULL;")
