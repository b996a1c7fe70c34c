"""docker-compose.yaml follows the compose specification and this project's rules, and starts with no secret missing."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vectorferry.local.servers import weaviate_binary

CHECKOUT = Path(__file__).parents[3]
COMPOSE = CHECKOUT / "docker-compose.yaml"
EXAMPLE = CHECKOUT / ".env.example"


def script(name: str):
    found = importlib.util.spec_from_file_location(name, CHECKOUT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


check = script("check_compose")
make_env = script("make_env")


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    monkeypatch.setattr(sys, "argv", ["make_env", str(EXAMPLE), str(path)])
    assert make_env.main() == 0
    return path


def test_the_file_is_valid_with_generated_secrets(env_file):
    assert check.problems(COMPOSE, EXAMPLE, check.read_env(env_file)) == []


def test_weaviate_is_the_version_that_is_built_without_docker():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert services["weaviate"]["image"].rpartition(":")[2] == weaviate_binary.VERSION


def test_generated_secrets_are_private_different_and_long_enough(env_file):
    secrets = check.read_env(env_file)
    assert env_file.stat().st_mode & 0o077 == 0
    assert len(set(secrets.values())) == len(secrets) == len(check.read_env(EXAMPLE))
    assert len(secrets["AIRFLOW_JWT_SECRET"]) >= 64
    assert len(secrets["AIRFLOW_FERNET_KEY"]) == 44


def test_existing_secrets_are_not_replaced(env_file):
    before = env_file.read_text()
    assert make_env.main() == 1
    assert env_file.read_text() == before


@pytest.mark.parametrize("name", check.read_env(EXAMPLE))
def test_a_missing_secret_is_refused_by_name(name, env_file):
    secrets = check.read_env(env_file) | {name: ""}
    with pytest.raises(check.Missing, match=f"{name} is not set: run make env first"):
        check.problems(COMPOSE, EXAMPLE, secrets)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("redis:7.2-bookworm", "redis:latest", "redis: image 'redis:latest' has no version"),
        ('"127.0.0.1:5432:5432"', '"5432:5432"', "postgres: port 5432:5432 is not bound to 127.0.0.1"),
        (
            "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?run make env first}",
            "POSTGRES_PASSWORD: airflow",
            "postgres: POSTGRES_PASSWORD is written down",
        ),
        ("${PINECONE_API_KEY:?run make env first}", "${PINECONE_API_KEY:-pclocal}", "PINECONE_API_KEY: has a default"),
        ("    restart: unless-stopped", "    restarts: unless-stopped", "'restarts' was unexpected"),
        ("      test: [", "      disabled: [", "no health check"),
        ("    redis:\n      condition", "    rediss:\n      condition", "waits for rediss, which is no service"),
        ("${FLOWER_PASSWORD:?", "${FLOWER_PASS:?", "FLOWER_PASS: is not in the example"),
        (
            "://airflow:${POSTGRES_PASSWORD:?run make env first}@",
            "://airflow:airflow@",
            "SQL_ALCHEMY_CONN is written down",
        ),
    ],
)
def test_a_broken_rule_is_named(tmp_path, old, new, problem):
    text = COMPOSE.read_text()
    broken = tmp_path / "docker-compose.yaml"
    broken.write_text(text.replace(old, new))
    assert broken.read_text() != text
    assert any(problem in found for found in check.problems(broken, EXAMPLE))


def test_an_example_with_a_value_is_named(tmp_path):
    example = tmp_path / ".env.example"
    example.write_text(EXAMPLE.read_text().replace("REDIS_PASSWORD=", "REDIS_PASSWORD=redis"))
    assert check.problems(COMPOSE, example) == ["REDIS_PASSWORD: the example carries a value"]


def test_the_lock_has_a_celery_that_the_executor_can_import():
    executor = yaml.safe_load(COMPOSE.read_text())["x-airflow"]["environment"]["AIRFLOW__CORE__EXECUTOR"]
    load = "from airflow.executors.executor_loader import ExecutorLoader; ExecutorLoader.import_default_executor_cls()"
    subprocess.run([sys.executable, "-c", load], check=True, env={**os.environ, "AIRFLOW__CORE__EXECUTOR": executor})
