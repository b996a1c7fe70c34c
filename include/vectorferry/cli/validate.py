"""`vectorferry validate`: checks a spec file and the connections that it names."""

from vectorferry.cli.console import Console
from vectorferry.cli.opening import read_spec
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline
from vectorferry.spec.connections import connection_from_environment


def validate(spec: SpecPath, json: Json = False) -> None:
    """Check a spec file and its connections, without touching any database.

    Every problem is shown with its line and the nearest valid key.
    """
    from vectorferry.spec.loader import refuse_faults

    loaded = read_spec(spec)
    for name in (loaded.source.connection, loaded.target.connection, loaded.journal, loaded.staging.connection):
        if name:
            connection_from_environment(name)
    refuse_faults(spec, pipeline.expectation_faults(loaded))
    result = {"migration": loaded.migration, "fingerprint": loaded.fingerprint}
    Console(json=json).result(
        result,
        f"{spec} is valid: migration {loaded.migration}, fingerprint {loaded.fingerprint[:12]}",
        then="`vectorferry plan SPEC` looks at both databases and moves nothing",
    )
