"""What one run is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DIMENSION = 32
LARGE = "articles"
SMALL = ("", "shoes", "os-path", "wave", "tiny")
SMALL_SHARE = 0.04
"""Of all rows, in each small namespace."""
KEPT_FOR_WRITERS = 60
"""Records that routers write to, and in which nothing is planted."""
Kind = Literal["pgvector", "pinecone", "weaviate"]
Phase = Literal["TRACK_A", "TRACK_B"]


@dataclass(frozen=True)
class Settings:
    """`drift` differences are planted in the follower of `phase`; `rate` is of written records a second, over all routers.

    With `whole` TRACK_B is entered by all of a migration's steps, its checks and an approval; else by its phases alone.
    With `asks` the limits are those of a spec that names none, and more is put to a person in Airflow; else nothing limits the repair.
    With `unheld` the source, which must be pgvector, has that many records that no Pinecone holds.
    """

    folder: Path
    name: str = "drifting"
    rows: int = 100_000
    drift: int = 1_000
    excused: int = 6
    unheld: int = 0
    source: Kind = "pinecone"
    target: Kind = "weaviate"
    phase: Phase = "TRACK_A"
    rate: float = 20.0
    kills: int = 0
    asks: bool = False
    whole: bool = False
    seed: int = 1

    @property
    def source_collection(self) -> str:
        return _named(self.source, f"{self.name}from")

    @property
    def target_collection(self) -> str:
        return _named(self.target, f"{self.name}to")

    @property
    def target_is_follower(self) -> bool:
        return self.phase == "TRACK_A"


def _named(kind: Kind, name: str) -> str:
    return name.capitalize() if kind == "weaviate" else name
