"""Fuzzed specs that load: each becomes DAGs, which Airflow can store and say the next run of."""

from typing import Any

import yaml
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from hypothesis import given

from spec.fuzzing import FEW, changed, judge
from vectorferry.orchestration import build_dags


@FEW
@given(changed())
def test_whatever_loads_becomes_dags(made: tuple[dict[str, Any], tuple[str | int, ...]]) -> None:
    spec = judge(yaml.safe_dump(made[0], allow_unicode=True, sort_keys=False))
    for dag in build_dags(spec) if spec else ():
        kept = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        found = kept.timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, catchup=False)
        )
        # A list is of assets, which start a DAG at no time of their own.
        assert (found is None) == (dag.schedule is None or isinstance(dag.schedule, list))
