"""The records that are there at first: one large namespace, several small ones, random vectors, metadata of every kind."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from drift.settings import DIMENSION, LARGE, SMALL, SMALL_SHARE, Settings
from oracle import Key, Rows, add

FIELDS = {"kind": "string", "lines": "number", "public": "boolean", "tags": "strings"}
WORDS = ("alpha", "bêta", "gamma", "Δ", "epsilon")


def rows_of(settings: Settings) -> Rows:
    """All records, by key; ids are unique over all namespaces."""
    draw = np.random.default_rng(settings.seed)
    vectors = draw.standard_normal((settings.rows, DIMENSION), np.float32)
    rows: Rows = {}
    for number, key in enumerate(islice(_keys(settings), settings.rows)):
        add(rows, key, vectors[number], metadata_of(number, settings.seed))
    for number, key in enumerate(unheld_keys(settings)):
        add(rows, key, vectors[number] + 1, metadata_of(number, settings.seed) | {"nested": {"deep": number}})
    return rows


def _keys(settings: Settings) -> Iterator[Key]:
    few = max(10, int(settings.rows * SMALL_SHARE))
    for number in range(settings.rows):
        place = number // few
        yield (SMALL[place] if place < len(SMALL) else LARGE), f"record-{number:07}"


def unheld_keys(settings: Settings) -> list[Key]:
    """Records that Pinecone cannot hold: a nested object in the metadata."""
    return [(LARGE, f"unheld-{number}") for number in range(settings.unheld)]


def metadata_of(number: int, seed: int) -> dict[str, Any]:
    """A string, numbers, a boolean, a list of strings, and what nobody declared."""
    draw = random.Random(f"{seed} {number}")
    return {
        "kind": draw.choice(WORDS),
        "lines": draw.randrange(10_000),
        "ratio": draw.random(),
        "public": draw.random() < 0.5,
        "tags": draw.sample(WORDS, draw.randrange(4)),
        "title": f"Record {number}, “{draw.choice(WORDS)}”",
    }


def batches(rows: Rows, size: int = 500) -> Iterator[tuple[str, Sequence[str]]]:
    """The keys as (namespace, ids), namespace by namespace."""
    spaces: dict[str, list[str]] = {}
    for namespace, id_ in rows:
        spaces.setdefault(namespace, []).append(id_)
    for namespace, ids in spaces.items():
        for start in range(0, len(ids), size):
            yield namespace, ids[start : start + size]
