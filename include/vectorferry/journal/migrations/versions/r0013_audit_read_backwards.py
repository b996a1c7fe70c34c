"""Indexes of the audit trail: the newest rows of a migration, and of each action in it, are had without reading the others."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX audit_newest ON vectorferry.audit (migration, id);
        CREATE INDEX audit_action ON vectorferry.audit (migration, action, id);
        DROP INDEX vectorferry.ix_vectorferry_audit_migration;
    """)
