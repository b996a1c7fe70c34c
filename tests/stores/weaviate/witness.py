"""What a collection of Weaviate holds, in its own words: objects as its REST interface lists them, with nothing asked for by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stores.weaviate.tools import rest
from vectorferry.core.records import canonical_json, parse_json
from vectorferry.local.servers.weaviate import Weaviate

ZEROS = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Held:
    """An object: its metadata as canonical JSON, and its vector, None where it has none."""

    metadata: str
    vector: bytes | None

    @staticmethod
    def of(metadata: str, floats: list[float] | None) -> "Held":
        """One of numbers."""
        return Held(metadata, _floats(floats))


def held(server: Weaviate, collection: str, tenant: str = "") -> dict[str, Held]:
    """Objects by UUID. Raises where one has several vectors."""
    found: dict[str, Held] = {}
    query = f"class={collection}&include=vector&limit=500" + (f"&tenant={tenant}" if tenant else "")
    after = ""
    while objects := rest(server, "GET", f"/objects?{query}{after}")["objects"]:
        found |= {item["id"]: Held(_metadata(item), _vector(item)) for item in objects}
        after = f"&after={objects[-1]['id']}"
    return found


def read(batches: list[pa.RecordBatch]) -> dict[str, Held]:
    """The same of batches that were read."""
    rows = (row for batch in batches for row in batch.to_pylist())
    return {row["id"]: Held(told(parse_json(row["metadata"])), _floats(row["vector"])) for row in rows}


def told(metadata: dict[str, Any]) -> str:
    """As canonical JSON. How a number beyond 2^53 is written does not tell whether it is an integer: it is written as a float."""
    return canonical_json({name: _same(value) for name, value in metadata.items()})


def _same(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _same(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_same(item) for item in value]
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and abs(value) >= 2**53 else value


def _metadata(item: dict[str, Any]) -> str:
    return told({name: _plain(value) for name, value in (item.get("properties") or {}).items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], dict) and "beacon" in value[0]:
        return [each["beacon"] for each in value]
    if isinstance(value, dict) and value.keys() == {"latitude", "longitude"}:
        # Kept in 32 bits, and written with as many digits as these need.
        return {name: float(np.float32(number)) for name, number in value.items()}
    if isinstance(value, dict) and "internationalFormatted" in value:
        return {"defaultCountry": "", **value}
    return value


def _vector(item: dict[str, Any]) -> bytes | None:
    found = [*(item.get("vectors") or {}).values(), *([item["vector"]] if item.get("vector") else [])]
    assert len(found) < 2
    return _floats(found[0]) if found else None


def _floats(vector: list[float] | None) -> bytes | None:
    return np.asarray(vector, "<f4").tobytes() if vector else None
