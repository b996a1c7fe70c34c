"""`make compat`, or `PYTHONPATH=tests python -m compat 3.1`: the package in each Airflow that it says it runs on."""

import sys
import tempfile
import time
from pathlib import Path

from compat.environments import RELEASES, ROOT, beside_airflow, built_wheel
from compat.story import tell
from vectorferry.core.errors import VectorferryError


def main() -> int:
    """Give 0 if every version, or each that begins like the arguments, held what it must."""
    asked = tuple(sys.argv[1:]) or ("",)
    broken = []
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        wheel = built_wheel(Path(folder))
        for release in RELEASES:
            if not release.version.startswith(asked):
                continue
            began = time.monotonic()
            try:
                installed = beside_airflow(
                    ROOT / ".vectorferry" / "compat" / release.version, release, wheel, ("airflow", "postgres")
                )
                for line in tell(release, installed, Path(folder) / release.version):
                    print(f"Airflow {release.version}: {line}", flush=True)
            except (VectorferryError, AssertionError) as error:
                broken.append(release.version)
                print(f"Airflow {release.version}: NOT GOOD: {error}", flush=True)
            print(f"Airflow {release.version}: {time.monotonic() - began:.0f} s", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
