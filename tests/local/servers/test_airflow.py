"""The local Airflow comes up healthy, runs a DAG, asks the one who may answer, and starts again on the same data."""

import json
import textwrap

import httpx
import psutil
import pytest

from vectorferry.local.servers.airflow import airflow as local_airflow
from vectorferry.local.servers.airflow_api import AirflowApi, AirflowError
from vectorferry.local.servers.postgres import postgres as local_postgres
from vectorferry.local.servers.supervisor import Supervisor

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

DAG = """
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Connection, Param, task

with DAG("probe", params={"parts": Param(2, type="integer")}):
    @task
    def plan(params=None):
        assert Connection.get("known").host == "127.0.0.1"
        print("planning", params["parts"], "parts")
        return list(range(params["parts"]))

    @task(map_index_template="{{ task.op_kwargs['part'] }}")
    def move(part):
        return part

    ask = ApprovalOperator(
        task_id="ask",
        subject="Go?",
        body="**all** is well",
        assigned_users=[{"id": "approver", "name": "approver"}],
    )
    move.expand(part=plan()) >> ask
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "dags").mkdir()
    (folder / "dags" / "probe.py").write_text(textwrap.dedent(DAG))
    return folder


@pytest.fixture(scope="module")
def airflow(checkout):
    root = checkout / ".vectorferry"
    server = local_postgres(root / "postgres")
    known = {"known": server.airflow_uri()}
    with Supervisor(root) as supervisor:
        airflow = local_airflow(root / "airflow", checkout, server, connections=known)
        supervisor.start([*server.services(), *airflow.services()])
        yield airflow
        supervisor.check()


@pytest.fixture(scope="module")
def asked(airflow):
    """A run that has come to its question."""
    with airflow.api() as api:
        api.wait_for_dag("probe")
        api.unpause("probe")
        run_id = api.trigger("probe", {"parts": 3})
        yield api, api.wait_for_question("probe", run_id, timeout=600)


def test_all_components_are_healthy(airflow):
    health = httpx.get(f"{airflow.url}/api/v2/monitor/health", trust_env=False).json()
    # All that Airflow's page shows, which is red where one of them was never started.
    assert {name: each["status"] for name, each in health.items()} == dict.fromkeys(
        ("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy"
    )


def test_it_listens_on_loopback_only(airflow):
    # Other tests' servers may be children too.
    folder = str(airflow.checkout.resolve())
    tree = [p for p in psutil.Process().children(recursive=True) if p.cwd().startswith(folder)]
    addresses = {c.laddr.ip for p in tree for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    assert addresses <= {"127.0.0.1"}
    assert addresses


def test_secrets_are_not_in_command_lines(airflow):
    secrets = [airflow.postgres.password, *map(airflow.password, ("operator", "approver"))]
    lines = [" ".join(p.cmdline()) for p in psutil.Process().children(recursive=True)]
    assert not [line for line in lines for secret in secrets if secret in line]


def test_a_wrong_password_does_not_log_in(airflow):
    with AirflowApi(airflow.url, "operator", "wrong") as api, pytest.raises(AirflowError, match="as operator: 401"):
        api.questions()


def test_a_run_passes_its_params_and_shows_its_tasks(asked):
    api, question = asked
    tasks = api.tasks("probe", question.run_id)
    assert sorted((t.task_id, t.map_index, t.state) for t in tasks) == [
        ("ask", -1, "awaiting_input"),
        ("move", 0, "success"),
        ("move", 1, "success"),
        ("move", 2, "success"),
        ("plan", -1, "success"),
    ]
    assert "planning 3 parts" in api.log("probe", question.run_id, "plan")


def test_only_the_assigned_user_answers_and_the_run_goes_on(asked, airflow):
    api, question = asked
    assert (question.subject, question.options) == ("Go?", ("Approve", "Reject"))
    with pytest.raises(AirflowError, match="403"):
        api.answer(question, "Approve")
    with airflow.api("approver") as approver:
        approver.answer(question, "Approve")
    assert api.wait_for_run("probe", question.run_id) == "success"
    assert api.questions() == []


def test_a_cleared_task_runs_again_alone(asked):
    api, question = asked
    api.wait_for_run("probe", question.run_id)
    api.clear("probe", question.run_id, [("move", 1)], downstream=False)
    assert api.wait_for_run("probe", question.run_id) == "success"
    tries = {t.map_index: t.try_number for t in api.tasks("probe", question.run_id) if t.task_id == "move"}
    assert tries == {0: 1, 1: 2, 2: 1}


def test_the_page_of_the_question_is_there(asked):
    api, question = asked
    assert httpx.get(api.question_url(question), trust_env=False).status_code == 200


def test_passwords_are_for_their_owner_only(airflow):
    path = airflow.folder / "passwords.json"
    assert path.stat().st_mode & 0o077 == 0
    assert set(json.loads(path.read_text())) == {"admin", "operator", "approver", "viewer"}


def test_a_server_that_is_not_there_is_an_error_that_names_its_log():
    with (
        AirflowApi("http://127.0.0.1:9", "operator", "x") as api,
        pytest.raises(AirflowError, match=r"airflow-api-server\.log"),
    ):
        api.questions()
