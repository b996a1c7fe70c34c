"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE SEQUENCE vectorferry.generation;

CREATE TABLE vectorferry.journal_meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO vectorferry.journal_meta DEFAULT VALUES;

CREATE TABLE vectorferry.migration (
    name text PRIMARY KEY,
    spec_fingerprint text NOT NULL,
    spec text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL
);

CREATE TABLE vectorferry.control (
    migration text NOT NULL REFERENCES vectorferry.migration (name),
    cohort text NOT NULL,
    phase text NOT NULL CHECK (phase IN ('OFF', 'TRACK_A', 'HOLD_A', 'HOLD_B', 'TRACK_B', 'DONE')),
    epoch bigint NOT NULL,
    hold_deadline timestamptz,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (migration, cohort)
);

CREATE TABLE vectorferry.member (
    id text PRIMARY KEY,
    migration text NOT NULL REFERENCES vectorferry.migration (name),
    host text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline_seconds double precision NOT NULL,
    evicted_at timestamptz,
    evicted_by text
);
CREATE INDEX ix_vectorferry_member_migration ON vectorferry.member (migration);

CREATE TABLE vectorferry.member_phase (
    member text NOT NULL REFERENCES vectorferry.member (id),
    cohort text NOT NULL,
    phase text NOT NULL,
    draining text,
    epoch bigint NOT NULL,
    acknowledged_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (member, cohort)
);

CREATE TABLE vectorferry.record_state (
    migration text NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    partition text,
    generation bigint NOT NULL DEFAULT 0,
    dirty boolean NOT NULL DEFAULT false,
    excused boolean NOT NULL DEFAULT false,
    reason text,
    claim text,
    claim_until timestamptz,
    last_write timestamptz,
    PRIMARY KEY (migration, namespace, id)
);
CREATE INDEX record_state_dirty ON vectorferry.record_state (migration) WHERE dirty;

CREATE TABLE vectorferry.intent (
    generation bigint PRIMARY KEY,
    migration text NOT NULL,
    cohort text NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    member text NOT NULL,
    phase text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz
);
CREATE INDEX intent_record ON vectorferry.intent (migration, namespace, id);
CREATE INDEX ix_vectorferry_intent_member ON vectorferry.intent (member);

CREATE TABLE vectorferry.plan (
    id text PRIMARY KEY,
    migration text NOT NULL REFERENCES vectorferry.migration (name),
    fingerprint text NOT NULL,
    key_order text NOT NULL,
    listing text NOT NULL,
    details text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz
);
CREATE UNIQUE INDEX plan_live ON vectorferry.plan (migration) WHERE retired_at IS NULL;

CREATE TABLE vectorferry.partition (
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    name text NOT NULL,
    index bigint NOT NULL,
    cohort text NOT NULL,
    ranges text NOT NULL,
    PRIMARY KEY (plan_id, name)
);

CREATE TABLE vectorferry.attempt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    partition text NOT NULL,
    step text NOT NULL,
    number bigint NOT NULL,
    owner text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_until timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    settled_at timestamptz,
    detail text,
    UNIQUE (plan_id, partition, step, number)
);

CREATE TABLE vectorferry.progress (
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    partition text NOT NULL,
    step text NOT NULL,
    batch bigint NOT NULL,
    rows bigint NOT NULL,
    excused bigint NOT NULL,
    detail text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, partition, step, batch)
);

CREATE TABLE vectorferry.step_done (
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    partition text NOT NULL,
    step text NOT NULL,
    rows bigint NOT NULL,
    excused bigint NOT NULL,
    detail text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, partition, step)
);

CREATE TABLE vectorferry.verdict (
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    run_id text NOT NULL,
    "check" text NOT NULL,
    scope text NOT NULL,
    passed boolean NOT NULL,
    figures text NOT NULL,
    differences text NOT NULL,
    total_differences bigint NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, run_id, "check", scope)
);

CREATE TABLE vectorferry.evidence (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash text NOT NULL UNIQUE,
    migration text NOT NULL REFERENCES vectorferry.migration (name),
    plan_id text NOT NULL REFERENCES vectorferry.plan (id),
    run_id text NOT NULL,
    spec_fingerprint text NOT NULL,
    watermark bigint NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    approvable boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ix_vectorferry_evidence_migration ON vectorferry.evidence (migration);

CREATE TABLE vectorferry.approval (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    evidence_hash text NOT NULL REFERENCES vectorferry.evidence (hash),
    decision text NOT NULL CHECK (decision IN ('approve', 'reject')),
    actor text NOT NULL,
    actor_id text NOT NULL,
    reason text NOT NULL,
    via text NOT NULL,
    run_id text NOT NULL,
    question_asked_at timestamptz,
    answered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (evidence_hash, actor_id)
);

CREATE TABLE vectorferry.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    migration text NOT NULL,
    cohort text,
    epoch bigint,
    actor text NOT NULL,
    action text NOT NULL,
    detail text NOT NULL
);
CREATE INDEX ix_vectorferry_audit_migration ON vectorferry.audit (migration);

CREATE UNLOGGED TABLE vectorferry.budget (
    connection text PRIMARY KEY,
    next_free timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

# What was signed and what was done stays as written. Forgetting a migration may delete its evidence and approvals, in a
# transaction that says so; nothing deletes the audit.
APPEND_ONLY = """
CREATE FUNCTION vectorferry.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME <> 'audit' AND current_setting('vectorferry.forgetting', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'rows of vectorferry.% are never changed', TG_TABLE_NAME;
END
$$;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(APPEND_ONLY)
    for table in ("evidence", "approval", "audit"):
        for name, event, level in (
            ("keep_rows", "UPDATE OR DELETE", "ROW"),
            ("keep_table", "TRUNCATE", "STATEMENT"),
        ):
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {event} ON vectorferry.{table} "
                f"FOR EACH {level} EXECUTE FUNCTION vectorferry.refuse_change()"
            )
