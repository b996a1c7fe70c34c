"""What `<migration>.watch` measures of a migration, on real databases."""

from dataclasses import replace
from typing import Any

import pytest

from pipeline.test_run import approve
from pipeline.worlds import World
from vectorferry.core.errors import Unavailable
from vectorferry.engine import pipeline
from vectorferry.spec.migration import MigrationSpec


def test_both_sides_are_searched_a_little_at_each_look(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled.session() as session:
        assert pipeline.sample(session) == {}
        assert session.journal.samples.of("small", "latency") == (), "nothing is planned yet"
        pipeline.run(session, approve)
        before = session.source.usage.requests, session.target.usage.requests
        assert pipeline.sample(session) == {}
        source, target = session.journal.samples.of("small", "latency")
        assert (source.scope, target.scope) == ("source", "target")
        for sample in (source, target):
            figures = sample.figures
            assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
            assert (figures["queries"], figures["from"]) == (5, "probe")
        asked = [
            now - then
            for now, then in zip((session.source.usage.requests, session.target.usage.requests), before, strict=True)
        ]
        assert asked == [6, 6], "one more each, which opens connections"

        def down(*_: Any, **__: Any) -> Any:
            raise Unavailable("down", store="b")

        monkeypatch.setattr(session.target, "search", down)
        assert pipeline.sample(session) == {"target": "b: down"}
        assert [each.scope for each in session.journal.samples.of("small", "latency")] == ["source", "target", "source"]
        quiet: MigrationSpec = session.spec.model_copy(
            update={"notify": session.spec.notify.model_copy(update={"probes": 0})}
        )
        pipeline.sample(replace(session, spec=quiet))
        assert len(session.journal.samples.of("small", "latency")) == 3
