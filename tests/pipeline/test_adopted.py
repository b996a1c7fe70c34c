"""A target that was there, with namespaces of its own: no verb of the migration touches or counts them, from the first to the last."""

import pyarrow as pa
import pytest

from pipeline.commanding import on
from pipeline.test_live import approve, keys_of, live, phase_of, some
from pipeline.worlds import World, rows_of
from pipeline.writing import writing
from vectorferry.core.model import CollectionDefinition, KeyRange, Metric, Phase
from vectorferry.core.records import comparable_rows
from vectorferry.engine import pipeline
from vectorferry.engine.session import Session

__all__ = ["live"]

OWN = "somebody else's"


@pytest.fixture
def adopted(live: World) -> World:
    """A target with 40 records in a namespace that the source does not have."""
    live.spec_dict["target"]["adopt"] = True
    live.spec_dict["backup"] = {"require_drill": False}
    theirs = rows_of("xml.etree", most=40)
    named = theirs.set_column(0, theirs.schema.field(0), pa.array([OWN] * len(theirs)))
    with live.session() as session:
        dimension = session.source.describe().dimension
        assert dimension is not None
        session.target.create(CollectionDefinition(dimension, Metric.COSINE, session.spec.fields))
        for batch in named.to_batches():
            assert not session.target.upsert(batch).rejected
    return live


def own(session: Session) -> list[object]:
    return [row for batch in session.target.scan(KeyRange(OWN)) for row in comparable_rows(batch)]


def test_settling_everything_anew_touches_nothing_else(adopted: World) -> None:
    with adopted.session() as session:
        with writing(adopted, keys_of(adopted)) as writers:
            before = own(session)
            assert before
            assert pipeline.run(session, approve).switched is not None
            some(writers)
            pipeline.roll_back_now(session, "to see")
            assert phase_of(session) is Phase.TRACK_A
            pipeline.taint(session, "the journal was restored")
            pipeline.settle_up_to_now(session)
            assert own(session) == before, "settling deletes what the authority lacks"
            assert pipeline.drift_figures(pipeline.reconcile(session))["kinds"] == {}
        # Only now: what writers delete between the search and the count would be looked at, and not be counted.
        assert pipeline.search_each(session, "target", 1.0).looked_at <= session.target.count() - len(before)
        assert own(session) == before


def test_a_migration_ends_with_what_a_target_had_before(adopted: World) -> None:
    with adopted.session() as session, writing(adopted, keys_of(adopted)) as writers:
        before = own(session)
        assert pipeline.run(session, approve).switched is not None
        some(writers)
        pipeline.taint(session, "with the target as the authority")
        writers.stop()
        assert writers.errors == []
        pipeline.settle_up_to_now(session)
        assert OWN not in session.source.describe().namespaces
        compared = on(adopted, "compare")
        assert compared.code == 0, compared
        assert f"not compared: {OWN}, which only the target has" in compared.text
        with adopted.session() as later:
            assert pipeline.finalize(later, approve)
        assert own(session) == before
