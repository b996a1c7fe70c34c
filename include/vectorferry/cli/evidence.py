"""`vectorferry evidence …`: puts a run's evidence into one file for others to check, and checks such a file."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vectorferry.cli.console import Console
from vectorferry.cli.opening import journal_of, read_spec
from vectorferry.cli.options import Json, SpecPath
from vectorferry.engine import pipeline
from vectorferry.spec.connections import connection_from_environment

evidence_app = typer.Typer(no_args_is_help=True, help="Evidence as one file that others can check.")


@evidence_app.command("export")
def export(
    run: Annotated[str, typer.Argument(metavar="RUN|HASH", help="The run, or the beginning of the evidence's hash.")],
    spec: SpecPath,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; default: <migration>-<hash>.zip here.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the evidence of a run into one file: figures as they were hashed, verdicts, report, spec, plan, answers, audit, digests.

    Reads the journal and staging, and asks no database. Records appear in it as in the evidence: by id, with hashes of their values.
    """
    loaded = read_spec(spec)
    with journal_of(loaded) as journal:
        found, raw = pipeline.export_bundle(journal, connection_from_environment, loaded, spec, run)
    file = to or Path(f"{loaded.migration}-{found.hash[:12]}.zip")
    try:
        file.write_bytes(raw)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}") from error
    value = {"file": str(file), "evidence": found.hash, "bytes": len(raw)}
    text = f"{file}: evidence {found.hash} of {loaded.migration}, {len(raw):,} bytes"
    Console(json=json).result(value, text, then="`vectorferry evidence verify FILE`, on any machine")


@evidence_app.command("verify")
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A file that `vectorferry evidence export` wrote.")],
    approved: Annotated[
        str, typer.Option("--hash", metavar="HASH", help="What the approver was shown: it has to be this evidence.")
    ] = "",
    json: Json = False,
) -> None:
    """Recompute hash, digests and fingerprints of a bundle, and hold its files against each other; exits 1 where anything does not fit.

    Needs nothing but the file: neither journal nor spec, neither Airflow nor network. It says what it cannot prove.
    """
    found = pipeline.check_bundle(bundle, approved)
    Console(json=json).result(asdict(found), pipeline.bundle_in_words(found))
    if found.faults:
        raise typer.Exit(1)
