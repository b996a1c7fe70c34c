"""A small migration that can be approved on the terminal."""

from pathlib import Path

import pytest

from pipeline.worlds import World, postgres_connection, rows_of, small_spec


@pytest.fixture
def world(database: str, tmp_path: Path) -> World:
    """pgvector to pgvector, 26 records, nothing moved yet."""
    names = ("source", "target", "journal")
    made = World(tmp_path, {name: postgres_connection(name, database) for name in names}, small_spec(tmp_path))
    made.spec_dict["approval"] = {"terminal": True, "four_eyes": False}
    made.fill(rows_of("os/path", "dataclasses"))
    return made
