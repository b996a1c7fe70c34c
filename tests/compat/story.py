"""Story of one migration in an Airflow of some version: parsed, moved, forged in vain, and approved."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compat.environments import Environment, Release
from orchestration.conftest import DAG, SETTINGS, Stage, Story, some_docs, spec_of
from orchestration.lineage_events import facets_of, require_valid
from vectorferry.core.errors import VectorferryError
from vectorferry.core.model import Phase
from vectorferry.local.servers.airflow import airflow
from vectorferry.local.servers.airflow_api import AirflowError
from vectorferry.local.servers.postgres import postgres
from vectorferry.local.servers.supervisor import Service, Supervisor

NAME, EVENTS = "moved", "events.jsonl"
MODULE = "vectorferry.local.servers.airflow_scheduler"


class Broken(VectorferryError):
    """This version of Airflow does not keep what the package promises."""


def tell(release: Release, installed: Environment, folder: Path) -> Iterator[str]:
    """Plays the story; gives a line for each thing that held, and raises Broken, or what Airflow answered, at the first that did not."""
    held("nothing that was there is changed", installed.before <= installed.after)
    yield f"{len(installed.before)} packages were there, and are what they were; {len(installed.after - installed.before)} came"
    with _stage(installed, folder) as stage:
        begun = stage.begin(NAME)
        held("the DAGs are imported", stage.api("operator").import_errors() == {})
        yield f"{len(_dags(stage))} DAGs imported"
        asked = begun.question()
        held("the evidence is GO", asked.subject.startswith("GO: "))
        yield f"moved, and asked: {asked.subject}"
        yield _page(stage)
        for user in ("viewer", "operator", "admin"):
            held(f"{user} is refused", _refused(begun, user) == 403)
        yield "refused: viewer, operator, admin"
        begun.set_state("approve_cutover", "success")
        held("a task marked as successful opens nothing", begun.end() == "failed" and stage.phase_of() is Phase.TRACK_A)
        yield "a question marked as answered does not cut over: " + _last_line(begun.log("switch"))
        yield from _approve(stage)
        if "openlineage" in release.providers:
            yield _lineage(stage)


def _page(stage: Stage) -> str:
    url = f"{stage.airflow.url}/vectorferry"
    with stage.browser("viewer") as browser:
        [shown] = browser.get(f"{url}/api/migrations").json()["migrations"]
        held("the page waits for the answer", (shown["name"], shown["pending"]["kind"]) == (NAME, "cutover"))
        held("the page is served", "</html>" in browser.get(f"{url}/").text)
        browser.cookies.clear()
        held("the page knows who asks", browser.get(f"{url}/api/migrations").status_code == 401)
    plugins = stage.api("admin").call("GET", "/plugins", params={"limit": 100})["plugins"]
    views = [view["url_route"] for each in plugins for view in each["external_views"]]
    held("the page is in the navigation", "vectorferry" in views)
    return f"the page shows the question of {shown['name']}, to who is logged in"


def _approve(stage: Stage) -> Iterator[str]:
    again = Story(stage, NAME, stage.api("operator").trigger(f"{NAME}.migrate", {}))
    again.question()
    again.answer("Approve")
    held("the approved run cuts over", again.end() == "success" and stage.phase_of() is Phase.TRACK_B)
    with stage.journal() as journal:
        evidence = journal.evidence.latest(NAME)
        assert evidence is not None
        answers = [(each.actor, each.decision, each.via, each.reason) for each in journal.approvals.all(evidence.hash)]
    held("the evidence names the bundle", evidence.body["bundle"] == {"name": "dags-folder", "version": None})
    held("the journal names who approved", answers == [("approver", "approve", "airflow", "looked at it")])
    held("both sides are equal", stage.table("source") == stage.table(f"target_{NAME}"))
    yield f"approved by approver, cut over, {len(stage.table('source'))} rows equal on both sides"


def held(what: str, true: bool) -> None:
    if not true:
        raise Broken(f"does not hold: {what}")


def _refused(story: Story, user: str) -> int:
    with pytest.raises(AirflowError) as error:
        story.answer("Approve", user=user)
    return error.value.status


def _dags(stage: Stage) -> list[str]:
    found = stage.api("operator").call("GET", "/dags", params={"limit": 100})
    return [each["dag_id"] for each in found["dags"]]


def _last_line(log: str) -> str:
    return [line for line in log.splitlines() if "approv" in line.lower()][-1][:200]


class _Stage(Stage):
    def phase_of(self) -> Phase:
        with self.journal() as journal:
            return journal.control.get(NAME, "all").phase


def _lineage(stage: _Stage) -> str:
    """What OpenLineage's provider sent: each event as its schema says, the last of each task by what the task did."""
    # The scheduler may still be writing the last one, about the run as a whole.
    *lines, _ = (stage.folder / EVENTS).read_text().split("\n")
    events = [json.loads(line) for line in lines]
    told: dict[str, dict[str, Any]] = {}
    for event in events:
        require_valid(event)
        if event["eventType"] == "COMPLETE" and (found := facets_of(event)):
            told.setdefault(event["job"]["name"].removeprefix(f"{NAME}.migrate."), found)
    server = stage.postgres
    source = f"postgres://{server.host}:{server.port} vectors.public."
    ways = {
        task: [each.partition(" ")[0] for each in told[task] if source in each or "/parts" in each]
        for task in ("partition.export", "partition.upsert", "partition.check_counts", "switch")
    }
    held("lineage leads from the source over staging to the target", set(map(len, ways.values())) == {2})
    held("rows are told", told["partition.export"][f"input {source}source"] == {"inputStatistics": {"rowCount": 100}})
    loaded = told["partition.upsert"][f"output {source}target_{NAME}"]
    held("excused rows are told", loaded["vectorferry_moved"] == {"excused": 0})
    counted = told["partition.check_counts"][f"input {source}target_{NAME}"]["dataQualityAssertions"]["assertions"]
    held(
        "verdicts are told", {(v["assertion"], v["success"]) for v in counted} == {("counts", True), ("content", True)}
    )
    held(
        "the cut-over is told",
        told["switch"][f"output {source}target_{NAME}"]["vectorferry_moved"]["phase"] == "TRACK_B",
    )
    return f"{len(events)} events of OpenLineage are as its schema says; lineage of {', '.join(sorted(told))}"


@contextmanager
def _stage(installed: Environment, folder: Path) -> Iterator[_Stage]:
    """An Airflow of the environment, and PostgreSQL of ours."""
    server = postgres(folder / "postgres")
    checkout = folder / "checkout"
    (checkout / "dags").mkdir(parents=True)
    (checkout / "dags" / f"{NAME}.yaml").write_text(json.dumps(spec_of(NAME, approval={"approvers": ["approver"]})))
    (checkout / "dags" / f"{NAME}.py").write_text(DAG.format(name=NAME))
    with Supervisor(folder) as supervisor:
        supervisor.start(server.services())
        for database in ("vectors", "journal"):
            server.create_database(database)
        connections = {name: server.airflow_uri(name) for name in ("vectors", "journal")}
        to_file = json.dumps({"type": "file", "log_file_path": str(checkout / EVENTS), "append": True})
        variables = SETTINGS | {"PYTHONPATH": "", "AIRFLOW__OPENLINEAGE__TRANSPORT": to_file}
        made = airflow(folder / "airflow", checkout, server, connections=connections, variables=variables)
        stage = _Stage(made, server, checkout, supervisor)
        stage.make("source", some_docs())
        stage.journal().close()
        supervisor.start([_there(each, installed) for each in made.services()])
        yield stage
        for client in stage.clients.values():
            client.close()


def _there(service: Service, installed: Environment) -> Service:
    """The service with the environment's interpreter, and its own scheduler: ours imports databases' clients that are not there."""
    plain = ["airflow", "scheduler"] if MODULE in service.command else []
    rest = service.command[1:] if not plain else ("-m", *plain, "--skip-serve-logs")
    after = tuple(name for name in service.after if name != "postgres")
    return replace(service, command=(str(installed.python), *rest), after=after)
