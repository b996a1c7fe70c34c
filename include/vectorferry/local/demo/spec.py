"""The demo's migration: the committed spec for Pinecone to Weaviate, and one derived from it for any other pair, one product twice too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

KINDS = ("pinecone", "weaviate", "pgvector", "qdrant", "lancedb")
CONNECTIONS = {kind: f"local_{kind}" for kind in KINDS}
COLLECTIONS = {**dict.fromkeys(KINDS, "docs"), "weaviate": "Docs"}
# Beside its source, of the same product: a collection of another name, and of another shape where the product has one.
COPIES = {**dict.fromkeys(KINDS, "docs_new"), "pinecone": "docs-new", "weaviate": "DocsNew"}
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "weaviate": {"quantizer": "rq"},
    "pgvector": {"m": 32},
    "qdrant": {"quantizer": "scalar"},
    "lancedb": {"m": 32},
}
ALIASES = {"weaviate": "DocsLive", "qdrant": "docs_live"}
COMMITTED = ("pinecone", "weaviate")
DATA = Path("data") / "docs.parquet"
# One application writes meanwhile; on a laptop that does everything at once, it may take its time. It reads ten times a second: with the
# usual share of shadow reads, the demo would wait for minutes until there are enough.
LIVE = {
    "writers": {"expected": 1},
    "switch": {"hold": "60s"},
    "shadow": {"share": 0.5, "min_duration": "10s"},
}
DAG = '''"""The Airflow DAG that moves the demo's collection from {source} to {target}."""

from vectorferry.orchestration import migration

for dag in migration("{spec}"):
    globals()[dag.dag_id] = dag
'''


@dataclass(frozen=True)
class Demo:
    """What the demo moves: its spec and DAG files, the data set, and where everything lies."""

    migration: str
    source: str
    target: str
    spec_file: Path
    dags_folder: Path
    checkout: Path
    live: bool = False

    @property
    def dag_id(self) -> str:
        """The DAG that is triggered."""
        return f"{self.migration}.migrate"

    @property
    def data(self) -> Path:
        """The data set."""
        return self.checkout / DATA

    def environment(self) -> dict[str, str]:
        """What Airflow needs besides: where the DAG lies."""
        return {"AIRFLOW__CORE__DAGS_FOLDER": str(self.dags_folder)}


def demo_of(checkout: Path, root: Path, source: str, target: str, *, live: bool = False) -> Demo:
    """The demo's migration between two kinds of database; writes spec and DAG where they are not the committed ones.

    `live` says that an application writes meanwhile.
    """
    committed = checkout / "include" / "migrations" / "docs.yaml"
    if (source, target) == COMMITTED and not live:
        return Demo("docs", source, target, committed, checkout / "dags", checkout)
    pair = f"{source}_to_{target}{'_live' if live else ''}"
    name, folder = f"docs_{pair}", root / "generated" / pair
    demo = Demo(name, source, target, folder / f"{name}.yaml", folder / "dags", checkout, live)
    demo.dags_folder.mkdir(parents=True, exist_ok=True)
    spec = _between(yaml.safe_load(committed.read_text(encoding="utf-8")), checkout, demo)
    demo.spec_file.write_text(
        yaml.safe_dump(orjson.loads(orjson.dumps(spec)), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    dag = DAG.format(source=source, target=target, spec=demo.spec_file)
    (demo.dags_folder / f"{name}.py").write_text(dag, encoding="utf-8")
    return demo


def _between(spec: dict[str, Any], checkout: Path, demo: Demo) -> dict[str, Any]:
    source = {"connection": CONNECTIONS[demo.source], "collection": COLLECTIONS[demo.source]}
    target: dict[str, Any] = {"connection": CONNECTIONS[demo.target], "collection": COLLECTIONS[demo.target]}
    if demo.source == demo.target:
        target |= {"collection": COPIES[demo.target], "index": dict(SHAPES.get(demo.target, {}))}
    if demo.target in ALIASES:
        target["alias"] = ALIASES[demo.target]
    spec |= {"migration": demo.migration, "source": source, "target": target} | (LIVE if demo.live else {})
    spec["staging"]["url"] = str(checkout / spec["staging"]["url"])
    spec["checks"]["recall"]["queries"] = str(checkout / spec["checks"]["recall"]["queries"])
    return spec
