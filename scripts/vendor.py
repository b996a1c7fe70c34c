"""Fetches the charting library from the npm registry again, as report/static/vendor/vendor.json pins it; `--check` only compares hashes."""

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from base64 import b64encode
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "include" / "vectorferry" / "report" / "static" / "vendor"
PINS = FOLDER / "vendor.json"


def main() -> int:
    pins = json.loads(PINS.read_text(encoding="utf-8"))
    if "--check" not in sys.argv[1:]:
        for pin in pins["packages"]:
            fetch(pin)
    wrong = list(faults(pins))
    print("\n".join(wrong) or f"{len(pins['packages'])} packages are as they are pinned")
    return 1 if wrong else 0


def fetch(pin: dict) -> None:
    """Pack one package with npm, hold the archive to the integrity that is pinned, and take the files out of it."""
    with tempfile.TemporaryDirectory() as scratch:
        name = f"{pin['package']}@{pin['version']}"
        told = subprocess.run(
            ["npm", "pack", "--json", name], cwd=scratch, check=True, capture_output=True, text=True
        ).stdout
        [packed] = json.loads(told)
        archive = Path(scratch) / packed["filename"]
        integrity = f"sha512-{b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()}"
        if integrity != pin["integrity"]:
            raise SystemExit(f"{name}: the registry gave {integrity}, {pin['integrity']} is pinned")
        with tarfile.open(archive) as files:
            for each in pin["files"]:
                found = files.extractfile(f"package/{each['from']}")
                assert found is not None, each["from"]
                (FOLDER / each["file"]).write_bytes(found.read())


def faults(pins: dict) -> list[str]:
    """What is not as it is pinned, one line each; files that nobody pinned too."""
    pinned = {each["file"]: each["sha256"] for pin in pins["packages"] for each in pin["files"]}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FOLDER.iterdir() if path != PINS}
    names = sorted(pinned.keys() | found.keys())
    return [
        f"{name}: {found.get(name)} is not {pinned.get(name)}" for name in names if pinned.get(name) != found.get(name)
    ]


if __name__ == "__main__":
    sys.exit(main())
