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
    """An object: its metadata as canonical JSON, its vector, None where it has none, and of each named one name, shape and bytes."""

    metadata: str
    vector: bytes | None
    named: tuple[tuple[str, tuple[int, ...], bytes], ...] = ()

    @staticmethod
    def of(metadata: str, floats: list[float] | None) -> "Held":
        """One of numbers."""
        return Held(metadata, _floats(floats))

    @staticmethod
    def with_named(metadata: str, floats: list[float] | None, vectors: dict[str, Any]) -> "Held":
        """One with named vectors too, each a list of numbers, or a list of such lists."""
        return Held(metadata, _floats(floats), _named(vectors))


def held(server: Weaviate, collection: str, tenant: str = "") -> dict[str, Held]:
    """Objects by UUID; which vector has no name is told by the schema, as docs/checks.md says."""
    found: dict[str, Held] = {}
    unnamed = _unnamed(rest(server, "GET", f"/schema/{collection}"))
    query = f"class={collection}&include=vector&limit=500" + (f"&tenant={tenant}" if tenant else "")
    after = ""
    while objects := rest(server, "GET", f"/objects?{query}{after}")["objects"]:
        found |= {item["id"]: _held(item, unnamed) for item in objects}
        after = f"&after={objects[-1]['id']}"
    return found


def read(batches: list[pa.RecordBatch]) -> dict[str, Held]:
    """The same of batches that were read."""
    rows = (row for batch in batches for row in batch.to_pylist())
    return {row["id"]: Held(told(parse_json(row["metadata"])), _floats(row["vector"]), _named_of(row)) for row in rows}


def _named_of(row: dict[str, Any]) -> tuple[tuple[str, tuple[int, ...], bytes], ...]:
    names = {name: name.partition(":")[2] for name in row if name.startswith(("vector:", "multi:"))}
    return _named({names[name]: row[name] for name in names})


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


def _unnamed(schema: dict[str, Any]) -> str | None:
    named = schema.get("vectorConfig") or {}
    if not named or schema.get("vectorIndexConfig"):
        return ""
    multi = {name for name, each in named.items() if "multivector" in each["vectorIndexConfig"]}
    enabled = {name for name in multi if named[name]["vectorIndexConfig"]["multivector"]["enabled"]}
    dense = [name for name in named if name not in enabled]
    return dense[0] if len(named) == 1 and dense else next((name for name in dense if name == "default"), None)


def _held(item: dict[str, Any], unnamed: str | None) -> Held:
    vectors = {**(item.get("vectors") or {}), **({"": item["vector"]} if item.get("vector") else {})}
    own = None if unnamed is None else vectors.pop(unnamed, None)
    return Held(_metadata(item), _floats(own), _named(vectors))


def _named(vectors: dict[str, Any]) -> tuple[tuple[str, tuple[int, ...], bytes], ...]:
    there = {name: np.asarray(vector, "<f4") for name, vector in sorted(vectors.items()) if vector is not None}
    return tuple((name, vector.shape, vector.tobytes()) for name, vector in there.items())


def _floats(vector: list[float] | None) -> bytes | None:
    return np.asarray(vector, "<f4").tobytes() if vector else None
