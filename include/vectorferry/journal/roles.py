"""Database roles: the rights of a router in the journal, and what it cannot do."""

import sqlalchemy as sa

from vectorferry.journal.journal import Journal
from vectorferry.journal.tables import SCHEMA

ROUTER = "vectorferry_router"
READS = (
    "alembic_version",
    "journal_meta",
    "migration",
    "control",
    "member",
    "member_phase",
    "record_state",
    "intent",
    "plan",
    "partition",
    "attempt",
    "step_done",
)
WRITES = ("member", "member_phase", "record_state", "intent")
ADDS = ("shadow_read", "traffic")

# Who owns the journal may lack the right to create roles, where somebody else has made this one.
_CREATE = f"""
DO $$ BEGIN
    IF to_regrole('{ROUTER}') IS NULL THEN CREATE ROLE {ROUTER} NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$
"""


def create_roles(journal: Journal) -> None:
    """Make the role of routers, or bring its rights up to date: it cannot write control, evidence or approvals.

    Grant it to the login that applications use: GRANT vectorferry_router TO app. Needs the right to create roles, unless the role is there.
    """
    with journal.database.transaction() as connection:
        connection.execute(sa.text(_CREATE))
        for grant in _grants():
            connection.execute(sa.text(grant))


def _grants() -> tuple[str, ...]:
    return (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {ROUTER}",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {ROUTER}",
        f"GRANT SELECT ON {_names(READS)} TO {ROUTER}",
        f"GRANT INSERT, UPDATE, DELETE ON {_names(WRITES)} TO {ROUTER}",
        f"GRANT INSERT ON {_names(ADDS)} TO {ROUTER}",
        f"GRANT USAGE ON SEQUENCE {SCHEMA}.generation TO {ROUTER}",
        f"REVOKE ALL ON FUNCTION {SCHEMA}.step_back FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION {SCHEMA}.step_back TO {ROUTER}",
    )


def _names(tables: tuple[str, ...]) -> str:
    return ", ".join(f"{SCHEMA}.{name}" for name in tables)
