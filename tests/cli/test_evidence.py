"""The evidence bundle: it verifies as it is, anywhere, and not once a byte of it is changed."""

import io
import json
import os
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.commanding import vectorferry
from pipeline.worlds import World
from vectorferry.engine.signoff.bundle_check import NOT_PROVEN, check_bundle
from vectorferry.engine.signoff.bundle_file import MANIFEST, canonical, packed

_MADE: dict[str, Any] = {}


@pytest.fixture
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The bundle of a small migration that was approved; moved once for all tests."""
    file = tmp_path / "bundle.zip"
    if not _MADE:
        world: World = request.getfixturevalue("world")
        world.spec_dict["checks"]["effort"] = {"measure": False}
        spec, environment = str(world.spec_file), world.environment()
        ran = vectorferry("run", spec, environment=environment, answers="approve\nlooks right\n")
        assert ran.code == 0, ran.text
        with world.session() as session:
            found = session.journal.evidence.latest(session.migration)
        assert found is not None
        for name in (found.run_id, found.hash[:12]):
            ran = vectorferry("evidence", "export", name, spec, "--to", str(file), environment=environment)
            assert ran.code == 0, ran.text
            assert found.hash in ran.text
            assert _MADE.setdefault("raw", file.read_bytes()) == file.read_bytes(), "the same evidence, the same bytes"
        _MADE["hash"] = found.hash
        unknown = vectorferry("evidence", "export", "no-such-run", spec, "--to", str(file), environment=environment)
        assert unknown.code == 1
        assert "no-such-run" in unknown.text
        world.spec_dict["checks"] = {"recall": {"min_queries": 5}}
        other = vectorferry("evidence", "export", found.hash, str(world.spec_file), environment=environment)
        assert other.code == 1
        assert "the spec is not that of evidence" in other.text
    file.write_bytes(_MADE["raw"])
    return file


def files_of(bundle: Path) -> dict[str, bytes]:
    with ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}


def test_it_verifies_on_a_machine_that_has_nothing_else(bundle: Path, tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, "-m", "vectorferry.cli", "evidence", "verify", str(bundle)],
        cwd=tmp_path,
        env=kept | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"the bundle verifies: evidence {_MADE['hash']} of small, GO" in ran.stdout
    for told in NOT_PROVEN:
        assert told in ran.stdout


def test_a_python_alone_finds_a_changed_file_as_the_documentation_says(bundle: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")
    told = text[text.index("    python3 - evidence.zip") : text.index("    END\n") + len("    END\n")]
    recipe = textwrap.dedent(told)

    def follow() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", recipe], cwd=bundle.parent, capture_output=True, text=True, check=False)

    given = bundle.rename(bundle.with_name("evidence.zip"))
    ran = follow()
    assert (ran.returncode, ran.stdout.strip()) == (0, f"evidence {_MADE['hash']} all files are as listed"), ran.stderr
    raw = bytearray(given.read_bytes())
    raw[raw.index(b"looks right")] ^= 1
    given.write_bytes(raw)
    ran = follow()
    assert ran.returncode == 1
    assert "approvals.json" in ran.stdout + ran.stderr
    for change, name in ((rename, "plan.json"), (remove, "approvals.json"), (add, "more.txt")):
        given.write_bytes(_MADE["raw"])
        archive(given, change)
        ran = follow()
        assert ran.returncode == 1
        assert name in ran.stdout


def test_it_holds_what_an_auditor_needs(bundle: Path) -> None:
    files = files_of(bundle)
    body = orjson.loads(files["evidence.json"])
    assert body["go"] is True
    [answer] = orjson.loads(files["approvals.json"])
    assert (answer["decision"], answer["reason"], answer["via"]) == ("approve", "looks right", "terminal")
    assert answer["evidence_hash"] == _MADE["hash"]
    rows = [orjson.loads(line) for line in files["audit.jsonl"].splitlines()]
    assert {"phase"} <= {row["action"] for row in rows}
    assert b"<strong>GO</strong>" in files["report.html"]
    assert b"approved by" in files["report.html"]
    assert orjson.loads(files["manifests.json"]).keys() == {
        p["name"] for p in orjson.loads(files["plan.json"])["partitions"]
    }


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), other=st.integers(1, 255), structure=st.booleans())
def test_one_changed_byte_anywhere_is_found(bundle: Path, place: float, other: int, structure: bool) -> None:
    raw = bytearray(_MADE["raw"])
    # Half of the examples in the archive's own structure at its end, which is small beside the report.
    at = int(place * len(raw)) if not structure else len(raw) - 1 - int(place * 3_000)
    raw[at] ^= other
    changed = bundle.with_name("changed.zip")
    changed.write_bytes(raw)
    assert check_bundle(changed).faults


def test_a_changed_byte_of_a_file_is_named(bundle: Path) -> None:
    raw = bytearray(bundle.read_bytes())
    raw[raw.index(b"looks right", raw.index(b"approvals.json"))] ^= 1
    bundle.write_bytes(raw)
    ran = vectorferry("evidence", "verify", str(bundle))
    assert ran.code == 1
    assert "the bundle does NOT verify" in ran.text


def archive(bundle: Path, change: Callable[[ZipFile, dict[str, bytes]], None]) -> Path:
    """The bundle packed anew by other means, as somebody would who knows no better."""
    files = files_of(bundle)
    with ZipFile(bundle) as kept:
        files[MANIFEST] = kept.read(MANIFEST)
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as made:
        change(made, files)
        for name, raw in files.items():
            made.writestr(name, raw)
    bundle.write_bytes(buffer.getvalue())
    return bundle


def rename(_: ZipFile, files: dict[str, bytes]) -> None:
    files["plan.yaml"] = files.pop("plan.json")


def remove(_: ZipFile, files: dict[str, bytes]) -> None:
    del files["approvals.json"]


def add(_: ZipFile, files: dict[str, bytes]) -> None:
    files["more.txt"] = b"more"


def climb(made: ZipFile, _: dict[str, bytes]) -> None:
    made.writestr("../../climbed", b"out")


def twice(made: ZipFile, files: dict[str, bytes]) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        made.writestr("approvals.json", b"[]")
        made.writestr("approvals.json", files.pop("approvals.json"))


def bomb(made: ZipFile, files: dict[str, bytes]) -> None:
    made.writestr("audit.jsonl", b"\0" * 50_000_000, ZIP_DEFLATED)
    del files["audit.jsonl"]


def nothing(_: ZipFile, files: dict[str, bytes]) -> None:
    del files


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (rename, "'plan.yaml' belongs to no bundle"),
        (remove, "approvals.json is missing"),
        (add, "'more.txt' belongs to no bundle"),
        (climb, "'../../climbed' belongs to no bundle"),
        (twice, "'approvals.json' is twice in it"),
        (bomb, "'audit.jsonl' is compressed"),
        (nothing, "the archive is not as it was written"),
    ],
)
def test_another_archive_is_refused(bundle: Path, change: Callable[..., None], told: str) -> None:
    faults = check_bundle(archive(bundle, change)).faults
    assert any(told in fault for fault in faults), faults
    assert not (bundle.parent.parent / "climbed").exists()


@pytest.mark.parametrize("raw", [b"", b"PK", b"no archive at all", struct.pack("<I", 0x06054B50) + bytes(18)])
def test_what_is_no_bundle_is_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "x.zip"
    file.write_bytes(raw)
    assert check_bundle(file).faults
    assert check_bundle(tmp_path / "absent.zip").faults


def edited(bundle: Path, name: str, edit: Callable[[Any], Any]) -> tuple[str, ...]:
    """What is found where one file was edited and all digests were made to fit again."""
    files = files_of(bundle)
    files[name] = canonical(edit(orjson.loads(files[name])))
    bundle.write_bytes(packed(files))
    return check_bundle(bundle).faults


def answered(**changes: Any) -> Callable[[Any], Any]:
    return lambda rows: [rows[0] | changes]


@pytest.mark.parametrize(
    ("name", "edit", "told"),
    [
        ("evidence.json", lambda body: body | {"go": False}, "evidence.json hashes to"),
        ("record.json", lambda record: record | {"hash": "0" * 64}, "record.json says 000"),
        ("spec.json", lambda spec: spec | {"migration": "other"}, "spec.json has the fingerprint"),
        ("plan.json", lambda plan: plan | {"fingerprint": "0"}, "plan.json binds to 0"),
        ("plan.json", lambda plan: plan | {"id": "x"}, "plan.json is x"),
        ("manifests.json", lambda told: {n: each | {"digest": "0"} for n, each in told.items()}, "was staged as 0"),
        ("excused.json", lambda rows: [*rows, {"id": "x"}], "excused.json has the digest"),
        ("approvals.json", answered(evidence_hash="0"), "is to evidence 0"),
        ("approvals.json", answered(answered_at="2000-01-01T00:00:00+00:00"), "is older than the evidence"),
        ("approvals.json", lambda rows: {"a": 1}, "approvals.json is not of its form"),
        ("approvals.json", answered(actor=None), "names no person"),
    ],
)
def test_files_are_held_against_each_other(bundle: Path, name: str, edit: Callable[[Any], Any], told: str) -> None:
    faults = edited(bundle, name, edit)
    assert any(told in fault for fault in faults), faults


def test_a_report_a_spec_or_verdicts_of_other_evidence_are_named(bundle: Path) -> None:
    whole = files_of(bundle)
    other = whole["spec.yaml"].replace(b"migration: small", b"migration: smaller")
    assert other != whole["spec.yaml"]
    for name, raw, told in (
        ("report.html", b"<html>", "report.html is about other evidence"),
        ("report.html", whole["report.html"].replace(b"approved by", b"rejected by"), "report.html is not the one"),
        ("spec.yaml", other, "spec.yaml says other things"),
        ("verdicts.parquet", b"PAR1", "verdicts.parquet is not of its form"),
        ("audit.jsonl", whole["audit.jsonl"] * 2, "audit.jsonl is not in its order"),
    ):
        bundle.write_bytes(packed({**whole, name: raw}))
        faults = check_bundle(bundle).faults
        assert any(told in fault for fault in faults), (name, faults)


def test_a_go_that_the_verdicts_contradict_is_named(bundle: Path) -> None:
    """Whoever makes new evidence of failed verdicts, and all digests with it, still cannot make the gate say GO."""
    files = files_of(bundle)
    body = orjson.loads(files["evidence.json"])
    body["verdicts"][0]["passed"] = False
    files["evidence.json"] = canonical(body)
    digest = sha256(files["evidence.json"]).hexdigest()
    files["record.json"] = canonical(orjson.loads(files["record.json"]) | {"hash": digest})
    bundle.write_bytes(packed(files))
    assert any("says GO, and 1 verdicts are against it" in fault for fault in check_bundle(bundle).faults)


def test_it_is_the_evidence_that_was_approved_or_fails(bundle: Path) -> None:
    assert vectorferry("evidence", "verify", str(bundle), "--hash", _MADE["hash"][:12].upper()).code == 0
    ran = vectorferry("evidence", "verify", str(bundle), "--hash", "0" * 12)
    assert (ran.code, "and not of 000000000000" in ran.text) == (1, True)
    ran = vectorferry("evidence", "verify", str(bundle), "--hash", _MADE["hash"][:4])
    assert (ran.code, "give the hash as the approver was shown it" in ran.text) == (1, True)


def test_the_outcome_is_one_document_for_machines(bundle: Path) -> None:
    ran = vectorferry("evidence", "verify", str(bundle), "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["faults"], told["go"], told["hash"]) == (0, [], True, _MADE["hash"])
