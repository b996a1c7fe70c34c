"""What one run of the soak is made of; its processes read it from a file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

NAMESPACES = ("", "shoes")
HOT = 24
WIDE = 100
BASE_ROWS = 6000
MARKED = 5


@dataclass(frozen=True)
class Settings:
    """`rate` is of written records a second, over all writers; times are in seconds.

    `lease` is a router's, `worker_lease` a settler's or loader's; `deadline` is D; `delay` is what the source says that its reads lag
    by, `stale` what they do lag by; `every` is about how often something is harmed.
    """

    folder: Path
    minutes: float = 5.0
    switches: int = 0
    rate: float = 60.0
    chaos: bool = True
    source: str = "pinecone"
    target: str = "pgvector"
    writers: int = 2
    readers: int = 1
    reads: float = 10.0
    batch: int = 10
    lease: float = 2.0
    worker_lease: float = 2.5
    deadline: float = 4.0
    delay: float = 0.5
    stale: float = 0.25
    hold: float = 12.0
    dwell: float = 1.0
    finish: bool = True
    every: float = 1.5
    round_seconds: float = 120.0
    seed: int = 1
    migration: str = "soak"
    journal: str = ""
    connections: dict[str, str] = field(default_factory=dict)

    @property
    def round_folder(self) -> Path:
        """Where one migration keeps its spec, logbooks and staging."""
        return self.folder / self.migration

    @property
    def collection(self) -> str:
        return self.migration.capitalize() if self.target == "weaviate" else self.migration

    @property
    def spec_file(self) -> Path:
        return self.round_folder / "spec.yaml"

    @property
    def end(self) -> Path:
        """Once this file is there, the driver goes to DONE."""
        return self.round_folder / "end"

    @property
    def file(self) -> Path:
        return self.round_folder / "settings.json"

    def save(self) -> None:
        self.file.write_text(json.dumps({**asdict(self), "folder": str(self.folder)}), encoding="utf-8")
        self.file.chmod(0o600)

    @classmethod
    def read(cls, file: str) -> "Settings":
        raw: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        return cls(**{**raw, "folder": Path(raw["folder"])})

    def spec(self) -> dict[str, Any]:
        """The migration as its spec file says it; approved on a terminal, so by the driver itself."""
        # What an approximate index does to a row is not what is tested here, and costs most of a write.
        index = {"type": "none"} if self.target == "pgvector" else {}
        return {
            "migration": self.migration,
            "source": {"connection": "source", "collection": self.migration},
            "target": {"connection": "target", "collection": self.collection, "index": index},
            "journal": "journal",
            "staging": {"url": str(self.round_folder / "staging")},
            "writers": {"expected": self.writers + self.readers},
            "fields": {"n": "number", "mark": "string"},
            "partitions": {"rows": BASE_ROWS // 3, "parallel": 2},
            "budgets": {"source": {"requests_per_second": 500}, "target": {"requests_per_second": 500}},
            "limits": {"request_deadline": f"{self.deadline}s", "lease": f"{self.worker_lease}s"},
            "checks": {
                "recall": {"sample": 20, "min_queries": 5, "threshold": 0.5},
                "latency": {"queries": 20, "rate": 100},
            },
            "shadow": {"share": 0.1, "min_reads": 0},
            "approval": {"terminal": True, "four_eyes": False},
            "switch": {"hold": f"{self.hold}s", "wait_for_routers": "30s"},
            "backup": {
                "require_drill": False
            },  # a backup and its restore would be killed with the driver, again and again
        }
