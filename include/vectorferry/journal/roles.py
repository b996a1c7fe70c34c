"""Database roles: the rights of routers, and of those who only read, and what neither can do."""

import sqlalchemy as sa

from vectorferry.journal.journal import Journal
from vectorferry.journal.tables import SCHEMA

ROUTER = "vectorferry_router"
READER = "vectorferry_reader"
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
_CREATE = """
DO $$ BEGIN
    IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;
EXCEPTION WHEN duplicate_object {or_not} THEN NULL;
END $$
"""
_OR_NOT = "OR insufficient_privilege"


def create_roles(journal: Journal) -> tuple[str, ...]:
    """Make the roles of routers and of readers, or bring their rights up to date: a router cannot write control, evidence or approvals.

    Grant them to logins: GRANT vectorferry_router TO app, GRANT vectorferry_reader TO metrics. Needs the right to create roles, unless
    they are there. Without it, and without the role of readers, there is none: returns the roles that are up to date.
    """
    with journal.database.transaction() as connection:
        connection.execute(sa.text(_CREATE.format(role=ROUTER, or_not="")))
        connection.execute(sa.text(_CREATE.format(role=READER, or_not=_OR_NOT)))
        reader = connection.execute(sa.text(f"SELECT to_regrole('{READER}') IS NOT NULL")).scalar_one()
        for grant in _grants():
            connection.execute(sa.text(grant))
        for grant in _grants_of_reader() if reader else ():
            connection.execute(sa.text(grant))
    return (ROUTER, READER) if reader else (ROUTER,)


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


def _grants_of_reader() -> tuple[str, ...]:
    return (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA {SCHEMA} FROM {READER}",
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO {READER}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {READER}",
    )


def _names(tables: tuple[str, ...]) -> str:
    return ", ".join(f"{SCHEMA}.{name}" for name in tables)
