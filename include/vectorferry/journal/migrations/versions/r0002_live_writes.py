"""Live writes: what a cohort has loaded, where a hold came from, news of phases, and the step back that routers may take."""

from alembic import op

revision = "0002"
down_revision = "0001"

COLUMNS = """
ALTER TABLE vectorferry.control
    ADD COLUMN loaded boolean NOT NULL DEFAULT false,
    ADD COLUMN loads bigint NOT NULL DEFAULT 0,
    ADD COLUMN came_from text;

ALTER TABLE vectorferry.record_state
    ADD COLUMN cohort text NOT NULL DEFAULT 'all',
    ADD COLUMN was_dirty boolean NOT NULL DEFAULT false;

DROP INDEX vectorferry.record_state_dirty;
CREATE INDEX record_state_dirty ON vectorferry.record_state (migration, cohort, generation) WHERE dirty;
"""

# Anybody who waits for a phase hears of it at once; who cannot listen, behind a pooler say, polls.
NEWS = """
CREATE FUNCTION vectorferry.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('vectorferry', NEW.migration);
    RETURN NEW;
END
$$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON vectorferry.control
    FOR EACH ROW EXECUTE FUNCTION vectorferry.tell();
"""

# Open is what may still take effect. An evicted member's intents are not: its lease and D are over.
UNSETTLED = """
CREATE FUNCTION vectorferry.unsettled(m text, c text, OUT dirty bigint, OUT open bigint) LANGUAGE sql STABLE AS $$
    SELECT
        (SELECT count(*) FROM vectorferry.record_state r WHERE r.migration = m AND r.cohort = c AND r.dirty),
        (SELECT count(*) FROM vectorferry.intent i JOIN vectorferry.member b ON b.id = i.member
            WHERE i.migration = m AND i.cohort = c AND b.evicted_at IS NULL
            AND (i.closed_at IS NULL OR i.closed_at > clock_timestamp()))
$$;
"""

# Runs with its owner's rights, because routers cannot write control rows: all they can do here is end a hold whose time is over.
STEP_BACK = """
CREATE FUNCTION vectorferry.step_back(m text, c text, seen bigint, who text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    here vectorferry.control;
    onto text;
BEGIN
    SELECT * INTO here FROM vectorferry.control WHERE migration = m AND cohort = c FOR UPDATE;
    IF here.epoch IS DISTINCT FROM seen OR here.phase NOT IN ('HOLD_A', 'HOLD_B')
        OR here.hold_deadline IS NULL OR here.hold_deadline > clock_timestamp() THEN
        RETURN false;
    END IF;
    LOCK TABLE vectorferry.member, vectorferry.member_phase IN SHARE MODE;
    onto := CASE WHEN right(here.phase, 1) = right(here.came_from, 1) THEN here.came_from
        WHEN here.phase = 'HOLD_A' THEN 'HOLD_B' ELSE 'HOLD_A' END;
    IF EXISTS (
        SELECT FROM vectorferry.member b LEFT JOIN vectorferry.member_phase p ON p.member = b.id AND p.cohort = c
        WHERE b.migration = m AND b.evicted_at IS NULL AND (
            p.phase IS NULL OR p.phase NOT IN (here.phase, onto) OR p.draining NOT IN (here.phase, onto))
    ) THEN
        RETURN false;
    END IF;
    IF onto LIKE 'HOLD%' AND (SELECT u.dirty + u.open > 0 FROM vectorferry.unsettled(m, c) u) THEN
        RETURN false;
    END IF;
    UPDATE vectorferry.control SET phase = onto, epoch = epoch + 1, changed_at = clock_timestamp(), changed_by = who,
        reason = 'the time of the hold is over',
        hold_deadline = CASE WHEN onto LIKE 'HOLD%' THEN hold_deadline END,
        came_from = CASE WHEN onto LIKE 'HOLD%' THEN came_from END
        WHERE migration = m AND cohort = c;
    INSERT INTO vectorferry.audit (migration, cohort, epoch, actor, action, detail)
        VALUES (m, c, seen + 1, who, 'phase', json_build_object(
            'from', here.phase, 'to', onto, 'reason', 'the time of the hold is over')::text);
    RETURN true;
END
$$;
"""


def upgrade() -> None:
    for statement in (COLUMNS, NEWS, UNSETTLED, STEP_BACK):
        op.execute(statement)
