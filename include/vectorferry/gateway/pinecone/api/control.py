"""Indexes: created, described, configured and dropped; what the backing store does not keep lies in one JSON file."""

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import orjson

from vectorferry.core.errors import AlreadyExists, NotFound
from vectorferry.core.model import CollectionDefinition, CollectionInfo, Metric
from vectorferry.gateway.pinecone.api import limits
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.documents import NoDocuments
from vectorferry.gateway.pinecone.api.problems import ApiProblem, invalid, missing
from vectorferry.gateway.pinecone.api.requests import Shape
from vectorferry.stores.base import VectorStore

StoreFactory = Callable[[str], VectorStore]
"""Opens the store behind an index of that name, which need not exist yet."""

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_METRICS = {"cosine": Metric.COSINE, "dotproduct": Metric.DOT, "euclidean": Metric.EUCLIDEAN}
METRIC_NAMES = {metric: name for name, metric in _METRICS.items()}
_VECTOR_FIELDS = {"_values": "dense_vector", "_sparse_values": "sparse_vector"}
_EMBEDDED = "semantic_text"
# The vendor's embedding models: the dimensions that each makes, its own first; none for a sparse one.
_MODELS: Mapping[str, tuple[int, ...]] = {
    "llama-text-embed-v2": (1024, 384, 512, 768, 2048),
    "multilingual-e5-large": (1024,),
    "pinecone-sparse-english-v0": (),
}
_DEPLOYMENT: Mapping[str, Any] = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
# A store of vectors has a dimension; a sparse index has none, and its records leave the vector out.
_NO_DIMENSION = 1


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What is kept of an index: its schema's fields as given at creation, and what the store does not know.

    `embedded` is the dimension of an index made for an embedding model, whose schema does not say it: None without one, or of a sparse one.
    """

    name: str
    fields: Mapping[str, Any]
    deployment: Mapping[str, Any] = field(default_factory=lambda: dict(_DEPLOYMENT))
    deletion_protection: str = "disabled"
    tags: Mapping[str, str] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    grpc_port: int | None = None
    embedded: int | None = None

    @property
    def shape(self) -> Shape:
        """What the index holds, read from its schema."""
        text = next((each for each in self.fields.values() if each.get("type") == _EMBEDDED), None)
        if text is not None:
            return Shape(self.embedded, _METRICS[text["metric"]])
        documents = not self.fields.keys() <= _VECTOR_FIELDS.keys()
        dense = self.fields.get("_values")
        if documents or dense is None:
            return Shape(None, Metric.DOT, documents)
        return Shape(dense["dimension"], _METRICS[dense["metric"]])


class Indexes(Protocol):
    """The indexes that a gateway serves. `at_root` names the one that is served without a prefix, None where there is no such one."""

    @property
    def at_root(self) -> str | None: ...  # noqa: D102

    def names(self) -> list[str]: ...  # noqa: D102

    def entry(self, name: str) -> IndexEntry: ...  # noqa: D102

    def data(self, name: str) -> IndexData: ...  # noqa: D102

    def create(self, entry: IndexEntry) -> IndexEntry: ...  # noqa: D102

    def change(self, name: str, change: Callable[[IndexEntry], IndexEntry]) -> IndexEntry: ...  # noqa: D102

    def delete(self, name: str) -> None: ...  # noqa: D102

    def note_port(self, name: str, grpc_port: int) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


class Catalog:
    """All indexes of a store's connection. Thread-safe."""

    at_root = None

    def __init__(
        self, folder: Path, open_store: StoreFactory, open_data: Callable[[Any, Shape, "Book"], IndexData]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "indexes.json"
        self._open_store = open_store
        self._open_data = open_data
        self._lock = threading.RLock()
        self._entries = _read(self._file)
        self._opened: dict[str, IndexData] = {}

    def names(self) -> list[str]:
        """Names of all known indexes, in order."""
        with self._lock:
            return sorted(self._entries)

    def entry(self, name: str) -> IndexEntry:
        """What is kept of an index; one that is only in the backing database is taken into the catalog. Raises 404."""
        with self._lock:
            found = self._entries.get(name) or self._adopted(name)
            if found is None:
                raise missing(f"Index {name!r}")
            return found

    def data(self, name: str) -> IndexData:
        """The operations of an index. Raises 404."""
        opened = self._opened.get(name)
        if opened:
            return opened
        with self._lock:
            entry = self.entry(name)
            if name not in self._opened:
                store = NoDocuments(name) if entry.shape.documents else self._open_store(name)
                self._opened[name] = self._open_data(store, entry.shape, Book(self, name))
            return self._opened[name]

    def create(self, entry: IndexEntry) -> IndexEntry:
        """Create an index and its collection. Raises 409 where it exists."""
        with self._lock:
            _check_name(entry.name)
            if entry.name in self._entries or self._adopted(entry.name):
                raise ApiProblem(409, f"Resource {entry.name} already exists")
            if not entry.shape.documents:
                self._create_collection(entry)
            return self._put(entry)

    def change(self, name: str, change: Callable[[IndexEntry], IndexEntry]) -> IndexEntry:
        """Change what is kept of an index, in one step. Raises 404."""
        with self._lock:
            return self._put(change(self.entry(name)))

    def delete(self, name: str) -> None:
        """Drop an index with everything in it. Raises 403 where it is protected."""
        with self._lock:
            entry = self.entry(name)
            if entry.deletion_protection == "enabled":
                raise ApiProblem(403, f"Deletion protection is enabled for index {name!r}: disable it first")
            opened = self._opened.pop(name, None)
            if opened:
                opened.close()
            if not entry.shape.documents:
                _with_store(self._open_store, name, lambda store: store.drop())
            del self._entries[name]
            self._save()

    def note_port(self, name: str, grpc_port: int) -> None:
        """Remember an index's gRPC port."""
        self.change(name, lambda entry: replace(entry, grpc_port=grpc_port))

    def close(self) -> None:
        """Close all stores."""
        with self._lock:
            for data in self._opened.values():
                data.close()
            self._opened.clear()

    def _create_collection(self, entry: IndexEntry) -> None:
        shape = entry.shape
        definition = CollectionDefinition(shape.dimension or _NO_DIMENSION, shape.metric)
        try:
            _with_store(self._open_store, entry.name, lambda store: store.create(definition))
        except AlreadyExists:
            raise ApiProblem(409, f"Resource {entry.name} already exists") from None

    def _adopted(self, name: str) -> IndexEntry | None:
        if not _NAME.match(name) or len(name) > limits.MAX_INDEX_NAME:
            return None
        try:
            info: CollectionInfo = _with_store(self._open_store, name, lambda store: store.describe())
        except NotFound:
            return None
        return self._put(IndexEntry(name, fields_of(info)))

    def _put(self, entry: IndexEntry) -> IndexEntry:
        self._entries[entry.name] = entry
        self._save()
        return entry

    def _save(self) -> None:
        text = orjson.dumps([asdict(entry) for entry in self._entries.values()], option=orjson.OPT_INDENT_2)
        part = self._file.with_suffix(".part")
        part.write_bytes(text)
        os.replace(part, self._file)  # noqa: PTH105 (atomic on purpose)


class Book:
    """The namespaces of one index that were created empty."""

    def __init__(self, catalog: Catalog, index: str) -> None:
        self._catalog = catalog
        self._index = index

    def names(self) -> frozenset[str]:
        """Names as stored."""
        return frozenset(self._catalog.entry(self._index).namespaces)

    def add(self, namespace: str) -> None:
        """Remember a namespace."""
        self._change(lambda names: names | {namespace})

    def discard(self, namespace: str) -> None:
        """Forget a namespace, if it is there."""
        if namespace in self.names():
            self._change(lambda names: names - {namespace})

    def _change(self, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        self._catalog.change(
            self._index, lambda entry: replace(entry, namespaces=tuple(sorted(change(frozenset(entry.namespaces)))))
        )


def parse_creation(raw: Any) -> IndexEntry:
    """The index that a request to create one describes, in the words of any version of the API."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise invalid("An index needs a name")
    fields = raw["schema"].get("fields") if isinstance(raw.get("schema"), Mapping) else _legacy_fields(raw)
    if not isinstance(fields, Mapping) or not fields:
        raise invalid("An index needs a schema with fields")
    if fields.keys() <= _VECTOR_FIELDS.keys():
        _check_vector_fields(fields)
    return IndexEntry(
        raw["name"],
        dict(fields),
        _deployment(raw),
        _protection(raw.get("deletion_protection") or "disabled"),
        check_tags(raw.get("tags") or {}),
    )


def parse_model_creation(raw: Mapping[str, Any]) -> IndexEntry:
    """The index that a request to create one for an embedding model describes: the text field is in its schema, the dimension is not."""
    embed = _object(raw, "embed")
    name = _object(embed, "field_map").get("text")
    if not isinstance(raw.get("name"), str) or not isinstance(name, str) or not name:
        raise invalid("An index for a model needs a name, and embed.field_map.text")
    dimensions = _MODELS.get(embed.get("model", ""))
    if dimensions is None:
        raise invalid(f"embed.model must be one of {', '.join(_MODELS)}, got {embed.get('model')!r}")
    dimension = embed.get("dimension") or next(iter(dimensions), None)
    if dimension not in (dimensions or (None,)):
        raise invalid(f"embed.dimension of {embed['model']} must be one of {dimensions}, got {dimension!r}")
    metric = embed.get("metric") or ("cosine" if dimensions else "dotproduct")
    if metric not in _METRICS:
        raise invalid(f"metric must be one of {', '.join(_METRICS)}, got {metric!r}")
    given = {key: embed[key] for key in ("read_parameters", "write_parameters") if embed.get(key)}
    return IndexEntry(
        raw["name"],
        {name: {"type": _EMBEDDED, "model": embed["model"], "metric": metric, **given}},
        {**_DEPLOYMENT, **{key: raw[key] for key in ("cloud", "region") if raw.get(key)}},
        _protection(raw.get("deletion_protection") or "disabled"),
        check_tags(raw.get("tags") or {}),
        embedded=dimension,
    )


def configured(entry: IndexEntry, raw: Any) -> IndexEntry:
    """The entry after a request to configure it; tags are merged, an empty value removes one."""
    if not isinstance(raw, Mapping):
        raise invalid("The request must be an object")
    if "deletion_protection" in raw:
        entry = replace(entry, deletion_protection=_protection(raw["deletion_protection"]))
    merged = {**entry.tags, **_object(raw, "tags")}
    return replace(entry, tags=check_tags({key: value for key, value in merged.items() if value != ""}))


def check_tags(tags: Any) -> dict[str, str]:
    """Tags if they may be tags."""
    if not isinstance(tags, Mapping) or len(tags) > limits.MAX_TAGS:
        raise invalid(f"tags must be an object of at most {limits.MAX_TAGS} entries")
    if not all(isinstance(value, str) and len(key) <= 80 and len(value) <= 120 for key, value in tags.items()):
        raise invalid("a tag has a key of at most 80 and a value of at most 120 characters")
    return dict(tags)


def _legacy_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    if raw.get("vector_type") == "sparse":
        return {"_sparse_values": {"type": "sparse_vector"}}
    metric = raw.get("metric") or "cosine"
    return {"_values": {"type": "dense_vector", "dimension": raw.get("dimension"), "metric": metric}}


def _check_vector_fields(fields: Mapping[str, Any]) -> None:
    for name, spec in fields.items():
        if not isinstance(spec, Mapping) or spec.get("type") != _VECTOR_FIELDS[name]:
            raise invalid(f"Schema field {name!r} must be of type {_VECTOR_FIELDS[name]}")
    dense = fields.get("_values")
    if dense is None:
        return
    dimension = dense.get("dimension")
    if type(dimension) is not int or not 1 <= dimension <= limits.MAX_DIMENSION:
        raise invalid(f"dimension must be a whole number between 1 and {limits.MAX_DIMENSION}, got {dimension}")
    if dense.get("metric") not in _METRICS:
        raise invalid(f"metric must be one of {', '.join(_METRICS)}, got {dense.get('metric')}")


def _deployment(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {**_DEPLOYMENT, **_object(_object(raw, "spec"), "serverless"), **_object(raw, "deployment")}


def _object(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key) or {}
    if not isinstance(value, Mapping):
        raise invalid(f"{key} must be an object")
    return value


def _protection(value: Any) -> str:
    if value not in ("enabled", "disabled"):
        raise invalid("deletion_protection must be enabled or disabled")
    return str(value)


def _check_name(name: str) -> None:
    if not _NAME.match(name) or len(name) > limits.MAX_INDEX_NAME:
        raise invalid(
            f"Name must be 1 to {limits.MAX_INDEX_NAME} lower case letters, digits and hyphens, and begin and end with a letter or digit"
        )


def fields_of(info: CollectionInfo) -> dict[str, Any]:
    """The schema's fields of a collection that was made elsewhere."""
    shape = Shape.of(info)
    return {"_values": {"type": "dense_vector", "dimension": shape.dimension, "metric": METRIC_NAMES[shape.metric]}}


def _with_store(open_store: StoreFactory, name: str, use: Callable[[VectorStore], Any]) -> Any:
    store = open_store(name)
    try:
        return use(store)
    finally:
        store.close()


def _read(file: Path) -> dict[str, IndexEntry]:
    if not file.exists():
        return {}
    entries = [IndexEntry(**{**raw, "namespaces": tuple(raw["namespaces"])}) for raw in orjson.loads(file.read_bytes())]
    return {entry.name: entry for entry in entries}
