"""The journal's tables as SQLAlchemy sees them; the migrations make them."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

SCHEMA = "vectorferry"
metadata = sa.MetaData(schema=SCHEMA)


def to_json(value: Any) -> str:
    """JSON that `from_json` reads back equal: NaN, infinities and NUL characters included, which jsonb would refuse."""
    return json.dumps(value, separators=(",", ":"), default=_plain)


def from_json(text: str) -> Any:
    """Read what `to_json` wrote."""
    return json.loads(text)


def _plain(value: Any) -> Any:
    if callable(
        plain := getattr(value, "tolist", None)
    ):  # a number or an array of numpy, which is not imported for this
        return plain()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be kept in the journal")


class Json(TypeDecorator[Any]):
    """A JSON document kept as text, so that it comes back exactly."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Write the document."""
        del dialect
        return None if value is None else to_json(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """Read the document."""
        del dialect
        return None if value is None else from_json(value)


Time = sa.DateTime(timezone=True)


def clock() -> sa.ColumnElement[datetime]:
    """The journal's time at which the expression is evaluated; unlike now() it moves on within a transaction."""
    return sa.func.clock_timestamp(type_=Time)


def ahead(seconds: float) -> sa.ColumnElement[datetime]:
    """The journal's time, some seconds from now."""
    return clock() + sa.literal(timedelta(seconds=seconds), sa.Interval)


def seconds_until(moment: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    """Seconds from now until a moment; negative once it has passed."""
    return sa.cast(sa.extract("epoch", moment - clock()), sa.Float)


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **options)


def _c(name: str, **options: Any) -> sa.Column[str]:
    # Ids and namespaces are compared bitwise, as in partitions.
    return sa.Column(name, sa.Text(collation="C"), nullable=False, **options)


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, Time, nullable=nullable, server_default=None if nullable else clock())


def _int(name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, **options)


def _json(name: str) -> sa.Column[Any]:
    return sa.Column(name, Json, nullable=False)


def _serial(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.Identity(always=True), primary_key=True)


def _of_migration(**options: Any) -> sa.Column[str]:
    return sa.Column("migration", sa.Text, sa.ForeignKey(f"{SCHEMA}.migration.name"), nullable=False, **options)


def _of_plan(**options: Any) -> sa.Column[str]:
    return sa.Column("plan_id", sa.Text, sa.ForeignKey(f"{SCHEMA}.plan.id"), **{"nullable": False, **options})


generation = sa.Sequence("generation", schema=SCHEMA)

journal_meta = sa.Table(
    "journal_meta",
    metadata,
    sa.Column("one", sa.Boolean, sa.CheckConstraint("one"), primary_key=True, server_default=sa.true()),
    sa.Column("id", sa.Uuid(as_uuid=False), nullable=False, server_default=sa.func.gen_random_uuid()),
    _time("created_at"),
)

migration = sa.Table(
    "migration",
    metadata,
    _text("name", primary_key=True),
    _text("spec_fingerprint"),
    sa.Column("spec", Json),
    _time("created_at"),
    _text("created_by"),
)

# `came_from` is the phase from which a hold was entered, and to which it steps back; `loads` counts the loads begun. A namespace
# belongs to the first cohort, by `position`, of which a pattern matches it.
control = sa.Table(
    "control",
    metadata,
    _of_migration(primary_key=True),
    _text("cohort", primary_key=True),
    _text("phase"),
    _int("epoch"),
    _time("hold_deadline", nullable=True),
    _time("changed_at"),
    _text("changed_by"),
    _text("reason"),
    sa.Column("loaded", sa.Boolean, nullable=False, server_default=sa.false()),
    _int("loads", server_default=sa.text("0")),
    sa.Column("came_from", sa.Text),
    _int("position", server_default=sa.text("0")),
    sa.Column("patterns", Json, nullable=False, server_default='["*"]'),
)

# A router is a member until it is evicted, lapsed or not; `deadline_seconds` is its D.
member = sa.Table(
    "member",
    metadata,
    _text("id", primary_key=True),
    _of_migration(index=True),
    _text("host"),
    _int("pid"),
    _text("version"),
    _time("joined_at"),
    _time("lease_until"),
    sa.Column("deadline_seconds", sa.Float, nullable=False),
    _time("evicted_at", nullable=True),
    sa.Column("evicted_by", sa.Text),
)

# `phase` is where the member's new operations begin; `draining` an earlier phase that some of its operations are still in.
member_phase = sa.Table(
    "member_phase",
    metadata,
    sa.Column("member", sa.Text, sa.ForeignKey(f"{SCHEMA}.member.id"), primary_key=True),
    _text("cohort", primary_key=True),
    _text("phase"),
    sa.Column("draining", sa.Text),
    _int("epoch"),
    _time("acknowledged_at"),
)

# `claim` is the settler's claim on the id; no request of it can land after `claim_until`. `was_dirty` is what the newest write found,
# `cleaned_at` when both sides were last found equal. `rejection` is why the follower did not take the write `rejection_generation`: it
# holds for as long as the record is dirty and of that write. Then `claim_until` without a claim is when it is tried again.
# Foreign keys are left out here and in `intent`: each would lock the same parent row on every write of an application.
record_state = sa.Table(
    "record_state",
    metadata,
    _text("migration", primary_key=True),
    _c("namespace", primary_key=True),
    _c("id", primary_key=True),
    sa.Column("partition", sa.Text),
    _int("generation", server_default=sa.text("0")),
    sa.Column("dirty", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("excused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("reason", sa.Text),
    sa.Column("claim", sa.Text),
    _time("claim_until", nullable=True),
    _time("last_write", nullable=True),
    _text("cohort", server_default="all"),
    _time("cleaned_at", nullable=True),
    sa.Column("was_dirty", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("rejection", sa.Text),
    sa.Column("rejection_generation", sa.BigInteger),
)
sa.Index(
    "record_state_dirty",
    record_state.c.migration,
    record_state.c.cohort,
    record_state.c.generation,
    postgresql_where=record_state.c.dirty,
)
sa.Index("record_state_touched", record_state.c.migration, record_state.c.generation)
sa.Index(
    "record_state_excused",
    record_state.c.migration,
    record_state.c.namespace,
    record_state.c.id,
    postgresql_where=record_state.c.excused,
)

# One id of one write, removed once nothing of it can land: `closed_at` lies D ahead where an answer never came.
intent = sa.Table(
    "intent",
    metadata,
    _int("generation", primary_key=True, autoincrement=False),
    _text("migration"),
    _text("cohort"),
    _c("namespace"),
    _c("id"),
    _text("member", index=True),
    _text("phase"),
    _time("opened_at"),
    _time("closed_at", nullable=True),
)
sa.Index("intent_record", intent.c.migration, intent.c.namespace, intent.c.id)

plan = sa.Table(
    "plan",
    metadata,
    _text("id", primary_key=True),
    _of_migration(),
    _text("fingerprint"),
    _text("key_order"),
    _text("listing"),
    _json("details"),
    _time("created_at"),
    _time("retired_at", nullable=True),
)
sa.Index("plan_live", plan.c.migration, unique=True, postgresql_where=plan.c.retired_at.is_(None))

partition = sa.Table(
    "partition",
    metadata,
    _of_plan(primary_key=True),
    _text("name", primary_key=True),
    _int("index"),
    _text("cohort"),
    _json("ranges"),
)

# `settled_at` is the moment from which no request of a cleanly finished attempt can land.
attempt = sa.Table(
    "attempt",
    metadata,
    _serial("id"),
    _of_plan(),
    _text("partition"),
    _text("step"),
    _int("number"),
    _text("owner"),
    _time("began_at"),
    _time("lease_until"),
    _time("finished_at", nullable=True),
    _time("settled_at", nullable=True),
    sa.Column("detail", Json),
    sa.UniqueConstraint("plan_id", "partition", "step", "number"),
)

progress = sa.Table(
    "progress",
    metadata,
    _of_plan(primary_key=True),
    _text("partition", primary_key=True),
    _text("step", primary_key=True),
    _int("batch", primary_key=True, autoincrement=False),
    _int("rows"),
    _int("excused"),
    sa.Column("detail", Json),
    _time("at"),
)

step_done = sa.Table(
    "step_done",
    metadata,
    _of_plan(primary_key=True),
    _text("partition", primary_key=True),
    _text("step", primary_key=True),
    _int("rows"),
    _int("excused"),
    _json("detail"),
    _time("at"),
)

verdict = sa.Table(
    "verdict",
    metadata,
    _of_plan(primary_key=True),
    _text("run_id", primary_key=True),
    _text("check", primary_key=True),
    _text("scope", primary_key=True),
    sa.Column("passed", sa.Boolean, nullable=False),
    _json("figures"),
    _json("differences"),
    _int("total_differences"),
    _text("reason"),
    _time("at"),
)

# `seq` orders evidence: times of two rows may be equal.
evidence = sa.Table(
    "evidence",
    metadata,
    _serial("seq"),
    _text("hash", unique=True),
    _of_migration(index=True),
    _of_plan(nullable=True),
    _text("run_id"),
    _text("spec_fingerprint"),
    _int("watermark"),
    _text("kind"),
    _json("body"),
    sa.Column("approvable", sa.Boolean, nullable=False),
    _time("created_at"),
)

approval = sa.Table(
    "approval",
    metadata,
    _serial("id"),
    sa.Column("evidence_hash", sa.Text, sa.ForeignKey(f"{SCHEMA}.evidence.hash"), nullable=False),
    _text("decision"),
    _text("actor"),
    _text("actor_id"),
    _text("reason"),
    _text("via"),
    _text("run_id"),
    _time("question_asked_at", nullable=True),
    _time("answered_at"),
    sa.UniqueConstraint("evidence_hash", "actor_id"),
)

# Outlives the migration it tells of. `epoch` is kept for phase changes and forgotten cohorts, so that no epoch is used twice.
audit = sa.Table(
    "audit",
    metadata,
    _serial("id"),
    _time("at"),
    _text("migration"),
    sa.Column("cohort", sa.Text),
    sa.Column("epoch", sa.BigInteger),
    _text("actor"),
    _text("action"),
    _json("detail"),
)

sa.Index("audit_newest", audit.c.migration, audit.c.id)
sa.Index("audit_action", audit.c.migration, audit.c.action, audit.c.id)

# What a router found on the follower over some seconds, added up: it may add rows, and cannot change them.
shadow_read = sa.Table(
    "shadow_read",
    metadata,
    _serial("id"),
    _text("migration"),
    _text("cohort"),
    _text("phase"),
    _text("member"),
    _text("kind"),
    sa.Column("began_at", Time, nullable=False),
    sa.Column("ended_at", Time, nullable=False),
    _json("figures"),
)
sa.Index("shadow_read_time", shadow_read.c.migration, shadow_read.c.phase, shadow_read.c.began_at)

# What a router's operations came to over some seconds: rows are added, and never changed.
traffic = sa.Table(
    "traffic",
    metadata,
    _serial("id"),
    _text("migration"),
    _text("cohort"),
    _text("phase"),
    _text("member"),
    _time("at"),
    _int("operations"),
    _int("failed"),
    sa.Column("latencies", Json),
)
sa.Index("traffic_time", traffic.c.migration, traffic.c.cohort, traffic.c.phase, traffic.c.at)

# One row a session of a run: tasks are processes of their own, and each knows only what itself has used.
usage = sa.Table(
    "usage",
    metadata,
    _serial("id"),
    _text("migration"),
    _text("run_id"),
    _time("at"),
    _int("requests"),
    _int("retries"),
    _int("throttled"),
    sa.Column("read_units", sa.Float, nullable=False),
    sa.Column("write_units", sa.Float, nullable=False),
    sa.Column("paced_seconds", sa.Float, nullable=False),
)
sa.Index("usage_run", usage.c.migration, usage.c.run_id)

# One comparison of both sides, for whoever goes on with it: `setting` is kept once, `state` is how far it is. Only the last `worker` may
# say so, which lives for as long as it renews `alive_until`.
reconciliation = sa.Table(
    "reconciliation",
    metadata,
    _serial("id"),
    _of_migration(),
    _text("scope"),
    _text("run_id"),
    _text("worker"),
    _time("began_at"),
    _time("ended_at", nullable=True),
    sa.Column("outcome", sa.Text),
    _json("setting"),
    _json("state"),
    sa.Column("figures", Json),
    _time("alive_until"),
)
sa.Index("reconciliation_migration", reconciliation.c.migration, reconciliation.c.id)

# Figures over time, of one scope each: rows are added, never changed, and go once they are old.
sample = sa.Table(
    "sample",
    metadata,
    _serial("id"),
    _text("migration"),
    _text("kind"),
    _text("scope"),
    _time("at"),
    _json("figures"),
)
sa.Index("sample_time", sample.c.migration, sample.c.kind, sample.c.at)

# Unlogged: losing it costs one burst, and its many small commits need no flush to disk.
budget = sa.Table(
    "budget",
    metadata,
    _text("connection", primary_key=True),
    _time("next_free"),
    prefixes=["UNLOGGED"],
)
