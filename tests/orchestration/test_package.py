"""What Airflow finds of this package by its entry points: the plugin, once, and the forms of its types of connections."""

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import airflow
import jsonschema
import pytest
from airflow import plugins_manager
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
from airflow.dag_processing.bundles.local import LocalDagBundle
from airflow.providers_manager import ProvidersManager
from airflow.serialization.serialized_objects import DagSerialization

from vectorferry.orchestration.dag_docs import describe
from vectorferry.orchestration.dags import build_dags
from vectorferry.orchestration.report_link import migration_link
from vectorferry.orchestration.task_session import dag_bundle
from vectorferry.spec.migration import MigrationSpec
from vectorferry.ui import hooks, provider
from vectorferry.ui.provider import FORMS, get_provider_info

SPEC = MigrationSpec.model_validate(
    {
        "migration": "docs",
        "source": {"connection": "a", "collection": "x"},
        "target": {"connection": "b", "collection": "x"},
        "staging": {"url": "/tmp/s"},
        "writers": "none",
    }
)


def test_airflow_loads_the_plugin_once() -> None:
    found, _ = plugins_manager._get_plugins()
    ours = [each for each in found if each.name == "vectorferry_reports"]
    assert [str(each.source).partition("==")[0] for each in ours] == ["vectorferry"]


def test_the_metadata_is_what_airflow_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_installed", lambda _: False)
    schema = json.loads((Path(airflow.__file__).with_name("provider_info.schema.json")).read_text())
    info = get_provider_info()
    jsonschema.validate(info, schema)
    [entry] = [each for each in entry_points(group="apache_airflow_provider") if each.value.startswith("vectorferry")]
    assert entry.load()() | {"connection-types": []} == info | {"connection-types": []}
    assert [each["connection-type"] for each in info["connection-types"]] == list(FORMS)


@pytest.mark.parametrize("kind", FORMS)
def test_each_type_has_a_hook_of_its_own(kind: str) -> None:
    hook = getattr(hooks, FORMS[kind].hook)
    assert (hook.conn_type, hook.hook_name) == (kind, FORMS[kind].title)


def test_airflow_shows_a_form_for_lancedb_and_leaves_the_others_to_their_providers(tmp_path: Path) -> None:
    manager = ProvidersManager()
    assert manager.providers["vectorferry"].data["connection-types"] == [
        each for each in get_provider_info()["connection-types"] if each["connection-type"] == "lancedb"
    ]
    manager.initialize_providers_hooks()
    shown: Mapping[str, Any] = manager._connection_form_widgets
    assert {f"extra__lancedb__{field}" for field in FORMS["lancedb"].fields} <= shown.keys()
    assert manager._field_behaviours["lancedb"]["relabeling"] == FORMS["lancedb"].labels


def test_the_button_of_a_connection_asks_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = {"conn_type": "lancedb", "extra": {"uri": str(tmp_path)}}
    monkeypatch.setenv("AIRFLOW_CONN_VECTORS", json.dumps(uri))
    assert hooks.LanceDBHook("vectors").test_connection() == (True, "0 collections")
    monkeypatch.setenv("AIRFLOW_CONN_VECTORS", '{"conn_type": "lancedb"}')
    answered, why = hooks.LanceDBHook("vectors").test_connection()
    assert not answered
    assert "needs `uri`" in why


def test_a_task_knows_the_version_that_it_was_parsed_from(tmp_path: Path) -> None:
    bundle = LocalDagBundle(name="catalogue", path=str(tmp_path), version="1a2b3c")
    assert dag_bundle(SimpleNamespace(bundle_instance=bundle)) == {"name": "catalogue", "version": "1a2b3c"}
    assert dag_bundle(SimpleNamespace()) is None


def test_links_of_questions_and_first_tasks_are_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/below")
    [migrate, *others] = build_dags(SPEC)
    for dag, task, names in (
        (migrate, "preflight", ["Migration"]),
        (migrate, "approve_cutover", ["Evidence", "Migration"]),
        (others[0], "approve_rollback", ["Evidence", "Migration"]),
    ):
        links = {link.name: link for link in dag.get_task(task).operator_extra_links}
        assert [*links] == names
        classes = {f"{type(link).__module__}.{type(link).__name__}" for link in links.values()}
        assert classes <= {*get_provider_info()["extra-links"]}
        page = links["Migration"].get_link(dag.get_task(task), ti_key=None)
        assert page == "http://airflow.example/below/vectorferry/migrations/docs"
    kept = DagSerialization.to_dict(migrate)["dag"]["tasks"]
    assert [each["__var"]["_operator_extra_links"] for each in kept if each["__var"]["task_id"] == "preflight"] == [
        {"Migration": "_link_MigrationLink"}
    ]
    assert "[Where it stands](http://airflow.example/below/vectorferry/migrations/docs)" in (migrate.doc_md or "")


def test_no_link_leads_to_a_page_that_shows_another_journal() -> None:
    elsewhere = SPEC.model_copy(update={"journal": "elsewhere"})
    assert migration_link(elsewhere) == ""
    assert "Where it stands" not in describe(elsewhere)


@pytest.mark.parametrize("base", ["http://airflow.example", "http://airflow.example/below/"])
def test_the_navigation_leads_to_the_page_under_any_prefix(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    [ours] = [each for each in plugins_manager._get_plugins()[0] if each.name == "vectorferry_reports"]
    [view] = ours.external_views
    shown = ExternalViewResponse.model_validate(view)
    assert (shown.name, shown.destination, shown.url_route) == ("Vectorferry", "nav", "vectorferry")
    assert shown.href == f"{urlsplit(base).path.rstrip('/')}/vectorferry/"
