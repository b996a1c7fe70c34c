"""`make pairs`: moves the collections between all pairs of databases on servers of its own, and writes docs/pairs.md."""

import sys
import tempfile
from itertools import product
from pathlib import Path

from pairs.moving import Moved, move
from pairs.places import KINDS, own_servers
from pairs.table import PAGE, page_of


def main() -> int:
    found: list[Moved] = []
    with tempfile.TemporaryDirectory(prefix="pairs-") as folder, own_servers(Path(folder)) as world:
        for source, target in product(KINDS, KINDS):
            found.append(move(world, source, target))
            print(
                f"{source} to {target}: {found[-1].rows} rows moved, {found[-1].refused.total()} refused by name, "
                f"{found[-1].seconds:.1f} s",
                flush=True,
            )
    PAGE.write_text(page_of(found), encoding="utf-8")
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
