"""Checks a compose file: against the compose specification, and against this project's own rules.

    python scripts/check_compose.py docker-compose.yaml --example .env.example [--env .env]

The rules: every image is pinned, every port is bound to loopback, every server has a health check, what is waited for
exists, every secret comes from the environment with no default (`${NAME:?message}`) and is documented in the example,
which carries no values. With --env the secrets are taken from that file; without, each is a made-up one.
"""

import argparse
import importlib.resources
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::?(?P<sign>[?-])(?P<text>[^}]*))?\})")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|(?:API|ACCESS|FERNET)_?KEY|_AUTH$|_KEYS$")
NOT_SECRET = re.compile(r"^(AUTHENTICATION_APIKEY_(ENABLED|USERS)|AIRFLOW__CORE__AUTH_MANAGER)$")
LITERAL_CREDENTIAL = re.compile(r"://[^/@$]*:[^/@$]+@")


class Missing(Exception):
    """A variable that the compose file needs is not set."""


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Return a compose value with its variables replaced; raises Missing as `docker compose` would."""
    if isinstance(value, dict):
        return {key: interpolate(each, environment) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, environment) for each in value]
    return VARIABLE.sub(lambda found: _replace(found, environment), value) if isinstance(value, str) else value


def _replace(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if found["name"] is None:
        return "$"
    value = environment.get(found["name"], "")
    if not value and found["sign"] == "?":
        raise Missing(f"{found['name']} is not set: {found['text']}")
    return value or (found["text"] or "" if found["sign"] == "-" else "")


def variables(text: str) -> dict[str, set[str]]:
    """Return the variables that a compose file names, each with the signs (`?` required, `-` default) it is used with."""
    used: dict[str, set[str]] = {}
    for found in VARIABLE.finditer(text):
        if found["name"]:
            used.setdefault(found["name"], set()).add(found["sign"] or "")
    return used


def read_env(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of an env file."""
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip() for name, sign, value in lines if sign and not name.startswith("#")}


def against_specification(compose: Any) -> Iterator[str]:
    """Yield what the compose specification does not allow."""
    vendored = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    for error in validator.iter_errors(compose):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'top level'}: {error.message}"


def unpinned(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    tag = service.get("image", "").rpartition("/")[2].partition(":")[2]
    if not re.search(r"\d+\.\d+", tag):
        yield f"{name}: image {service.get('image')!r} has no version"


def open_ports(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{name}: port {port} is not bound to 127.0.0.1"


def unwatched(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    is_server = service.get("restart") != "on-failure"
    if is_server and "test" not in service.get("healthcheck", {}):
        yield f"{name}: no health check"


def literal_secrets(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for key, value in service.get("environment", {}).items():
        secret = SECRET.search(key) and not NOT_SECRET.search(key)
        if (secret and not VARIABLE.search(str(value))) or LITERAL_CREDENTIAL.search(str(value)):
            yield f"{name}: {key} is written down; take it from the environment as ${{NAME:?message}}"


RULES: tuple[Callable[[str, Mapping[str, Any]], Iterator[str]], ...] = (
    unpinned,
    open_ports,
    unwatched,
    literal_secrets,
)


def dangling(compose: Mapping[str, Any]) -> Iterator[str]:
    """Yield services that wait for one that is not there, or for the health of one that has no check."""
    services = compose["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            if needed not in services:
                yield f"{name}: waits for {needed}, which is no service"
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[needed]:
                yield f"{name}: waits for the health of {needed}, which has no check"


def undocumented(text: str, example: Mapping[str, str]) -> Iterator[str]:
    """Yield differences between the variables of the compose file and its documented example."""
    used = variables(text)
    yield from (
        f"{name}: has a default or may be empty; write ${{{name}:?message}}" for name in used if used[name] != {"?"}
    )
    yield from (f"{name}: is not in the example" for name in sorted(used.keys() - example.keys()))
    yield from (f"{name}: is in the example, but nothing uses it" for name in sorted(example.keys() - used.keys()))
    yield from (f"{name}: the example carries a value" for name, value in example.items() if value)


def problems(compose_file: Path, example_file: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return everything wrong with a compose file; raises Missing where `environment` lacks a variable."""
    text = compose_file.read_text(encoding="utf-8")
    raw = yaml.safe_load(text)
    # An uninterpolated file is judged too: what is a literal there would be a literal everywhere.
    found = [*against_specification(raw), *undocumented(text, read_env(example_file)), *dangling(raw)]
    for name, service in raw["services"].items():
        found += [problem for rule in RULES for problem in rule(name, service)]
    made_up = dict.fromkeys(variables(text), "x" * 64)
    return [*found, *against_specification(interpolate(raw, made_up if environment is None else environment))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compose", type=Path)
    parser.add_argument("--example", type=Path, required=True)
    parser.add_argument("--env", type=Path)
    options = parser.parse_args()
    try:
        found = problems(options.compose, options.example, read_env(options.env) if options.env else None)
    except Missing as error:
        found = [str(error)]
    print("\n".join(found) or f"{options.compose} is valid", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
