"""Schema of a collection in Weaviate: the one that we create, and what an existing one says."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from vectorferry.core.errors import Refused
from vectorferry.core.model import CollectionDefinition, FieldOptions, FieldType, Metric, VectorKind, VectorSpec
from vectorferry.core.names import PREFIX, encode_property
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.obstacles import unknown_settings, wrong_vectors
from vectorferry.stores.weaviate.filters import KEYS
from vectorferry.stores.weaviate.properties import PropertyMap, native_properties, property_map
from vectorferry.stores.weaviate.vectors import (
    DEFAULT,
    DISTANCES,
    KINDS,
    Dimensions,
    HeldVector,
    misnamed,
    vectors_of_schema,
)

ID = "vf_id"
NAMESPACE = "vf_namespace"
METADATA = "vf_metadata"
TENANT = "vf_tenant"
"""In the layout without tenants: the encoded namespace, which the tokenizer cannot trim; filters go by it."""
OWN = frozenset({ID, NAMESPACE, METADATA, KEYS, TENANT})
MAX_DIMENSION = 65_535
_DATA_TYPES = {
    FieldType.STRING: "text",
    FieldType.NUMBER: "number",
    FieldType.BOOLEAN: "boolean",
    FieldType.STRINGS: "text[]",
}
_FIELD_TYPES = {name: kind for kind, name in _DATA_TYPES.items()}
_FOREIGN_TYPES = _FIELD_TYPES | {"int": FieldType.NUMBER}
_WITHHELD = frozenset({"blob", "blobHash"})
_QUANTIZERS: Mapping[str, Mapping[str, Any]] = {
    "none": {"skipDefaultQuantization": True},
    "rq": {"rq": {"enabled": True, "bits": 8}},
    "rq1": {"rq": {"enabled": True, "bits": 1}},
    "bq": {"bq": {"enabled": True}},
    "sq": {"sq": {"enabled": True}},
    "pq": {"pq": {"enabled": True}},
}
_HNSW = frozenset(
    {
        "ef", "efConstruction", "maxConnections", "dynamicEfMin", "dynamicEfMax", "dynamicEfFactor", "flatSearchCutoff",
        "filterStrategy", "cleanupIntervalSeconds", "vectorCacheMaxObjects",
    }
)  # fmt: skip
_NATIVE, _ENVELOPE = "native", "envelope"
# Settings that name properties of ours, and their defaults.
_OWN_NAMES = {"id_property": "source_id", "namespace_property": "namespace"}
_TEXTS = frozenset({"type", "quantizer", "filterStrategy", "layout", *_OWN_NAMES})
_SETTINGS: Mapping[str, frozenset[str]] = {
    "hnsw": _HNSW,
    "flat": frozenset({"vectorCacheMaxObjects"}),
    "hfresh": frozenset({"maxPostingSizeKB", "replicas", "searchProbe"}),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What the schema of an existing collection says.

    `own`: made by us. `tenants`: namespaces are tenants; `creates_tenants` and `wakes_tenants`: writing makes one, asking wakes one.
    `vectors` are all that it has; `dimension` (as recorded when we made it), `metric`, `index` and `searches` are of the one without a
    name, and say nothing where there is none. `fields` and `names` map declared metadata keys to types and
    property names (envelope only); `properties` maps every property to its data type; `exact` are properties whose index answers equality
    exactly. `native` are the properties of the native layout as the schema had them, None in another; `scope` is the property that tells
    namespaces where there are no tenants. `shape` are the properties as the schema has them, `references` those that refer to other
    objects, `strangers` those of a collection of ours that others added and that are no part of its records.
    """

    collection: str
    own: bool
    tenants: bool
    creates_tenants: bool
    wakes_tenants: bool
    vectors: tuple[HeldVector, ...]
    dimension: int | None
    metric: Metric
    fields: Mapping[str, FieldType]
    names: Mapping[str, str]
    properties: Mapping[str, str]
    exact: frozenset[str] = frozenset()
    nulls: bool = False
    index: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[Mapping[str, Any], ...] = ()
    references: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    searches: bool = True
    native: PropertyMap | None = None
    scope: str = ""

    @property
    def unnamed(self) -> HeldVector | None:
        """The dense vector without a name, None where there is none."""
        return next((each for each in self.vectors if not each.name), None)

    @property
    def named(self) -> dict[str, HeldVector]:
        """All other vectors, by their names in records."""
        return {each.name: each for each in self.vectors if each.name}

    def specs(self, dimensions: Dimensions) -> dict[str, VectorSpec]:
        """The named vectors as `CollectionInfo` tells of them."""
        return {
            name: each.spec(dimensions.get(name), _settings_of(each.index_type, each.config))
            for name, each in self.named.items()
        }

    @property
    def foreign_types(self) -> dict[str, FieldType]:
        """Types of the properties that filters and `CollectionInfo.fields` know, in a collection that is not ours."""
        return {name: _FOREIGN_TYPES[kind] for name, kind in self.properties.items() if kind in _FOREIGN_TYPES}


# --- Creating

_NAMES = "Weaviate takes [A-Z][_0-9A-Za-z]{0,254}"


def obstacles_to(collection: str, definition: CollectionDefinition, options: StoreOptions) -> Iterator[str]:
    """Why a collection cannot be made: its name, vectors, metric or index settings."""
    if not _fits(collection):
        yield f"{collection!r} is no name of a collection: {_NAMES}{_fitting(collection)}"
    yield from wrong_vectors(definition, KINDS, MAX_DIMENSION, "Weaviate")
    yield from misnamed(definition)
    settings = {**options.index, **definition.index}
    yield from _wrong_layout(settings, {**options.fields, **definition.fields}, _options_of(definition, options))
    if "shards" in settings and options.namespaces != "property":
        yield "index setting 'shards' needs namespaces as a property: each tenant is a shard"
    yield from _wrong_settings(definition.metric, settings)
    for name, spec in definition.named.items():
        if spec.kind in KINDS:
            yield from (f"the vector {name!r}: {each}" for each in _wrong_settings(spec.metric, spec.index))


def is_envelope(settings: Mapping[str, Any]) -> bool:
    """Whether these index settings ask for the layout `envelope`."""
    return settings.get("layout") == _ENVELOPE


def _options_of(definition: CollectionDefinition, options: StoreOptions) -> dict[str, FieldOptions]:
    return {**options.field_options, **definition.field_options}


def _wrong_layout(
    settings: Mapping[str, Any], fields: Mapping[str, FieldType], options: Mapping[str, FieldOptions]
) -> Iterator[str]:
    layout = settings.get("layout", _NATIVE)
    if layout not in (_NATIVE, _ENVELOPE):
        yield f"layout {layout!r} is unknown; known are {_NATIVE} and {_ENVELOPE}"
    if is_envelope(settings):
        yield from _wrong_envelope(settings, fields, options)
        return
    names = [str(settings.get(setting, default)) for setting, default in _OWN_NAMES.items()]
    for setting, name in zip(_OWN_NAMES, names, strict=True):
        if encode_property(name) != name:
            yield f"index setting {setting!r} is {name!r}, which is no name of a property; Weaviate takes [_a-z][_0-9A-Za-z]{{0,230}}"
    if names[0].lower() == names[1].lower():
        yield f"the properties of ids and of namespaces are both {names[0]!r}"


def _wrong_envelope(
    settings: Mapping[str, Any], fields: Mapping[str, FieldType], options: Mapping[str, FieldOptions]
) -> Iterator[str]:
    for key, kind in fields.items():
        if kind not in _DATA_TYPES:
            yield f"the field {key!r} is declared as {kind}; in the layout {_ENVELOPE} it can be {', '.join(_DATA_TYPES)}"
    if options:
        yield f"the layout {_ENVELOPE} takes no options of fields, as {next(iter(options))!r} has some"
    for setting in _OWN_NAMES.keys() & settings.keys():
        yield f"index setting {setting!r} is of the layout {_NATIVE}"


def _fitting(collection: str) -> str:
    words = re.findall("[0-9A-Za-z]+", collection)
    name = "".join(word[:1].upper() + word[1:] for word in words)
    return f", as in {name!r}" if name[:1].isalpha() and len(name) <= 255 else ""


def _wrong_settings(metric: Metric, settings: Mapping[str, Any]) -> Iterator[str]:
    kind, quantizer = str(settings.get("type", "hnsw")), str(settings.get("quantizer", "none"))
    if kind not in _SETTINGS:
        yield f"index type {kind!r} is unknown; known are {', '.join(_SETTINGS)}"
        return
    if kind == "hfresh" and metric is Metric.DOT:
        yield f"an index of the type hfresh has no metric {metric}"
    if kind == "hfresh" and "quantizer" in settings:
        yield "an index of the type hfresh chooses its own quantizer"
    if quantizer not in _QUANTIZERS:
        yield f"quantizer {quantizer!r} is unknown; known are {', '.join(_QUANTIZERS)}"
    yield from unknown_settings(_tuning(settings), _SETTINGS[kind], kind)
    for key, value in settings.items():
        if key not in _TEXTS and (isinstance(value, bool) or not isinstance(value, int)):
            yield f"index setting {key!r} is {value!r}, and must be a whole number"


def class_of(collection: str, definition: CollectionDefinition, options: StoreOptions) -> dict[str, Any]:
    """The class to create, where `obstacles_to` names none."""
    settings = {**options.index, **definition.index}
    made: dict[str, Any] = {
        "class": collection,
        "description": json.dumps(_recorded(definition)),
        "vectorConfig": _vector_configs(definition, settings),
        "invertedIndexConfig": {"indexNullState": True, "stopwords": {"preset": "none"}},
        "properties": _properties(settings, definition, options),
    }
    return made | _partitioning(settings, options)


def _recorded(definition: CollectionDefinition) -> dict[str, Any]:
    """What a schema does not tell by itself."""
    named = {name: spec.dimension for name, spec in definition.named.items()}
    return {"vectorferry": 1, "dimension": definition.dimension, **({"named": named} if named else {})}


def _vector_configs(definition: CollectionDefinition, settings: Mapping[str, Any]) -> dict[str, Any]:
    made = {} if definition.dimension is None else {DEFAULT: _vector_config(definition.metric, settings)}
    for name, spec in definition.named.items():
        made[name] = _vector_config(spec.metric, spec.index)
        if spec.kind is VectorKind.MULTI:
            made[name]["vectorIndexConfig"]["multivector"] = {"enabled": True}
    return made


def _fits(name: str) -> bool:
    return name.isascii() and name[:1].isupper() and name.replace("_", "a").isalnum() and len(name) <= 255


def refuse_name(name: str, store: str, what: str) -> None:
    """Raise Refused where a collection or an alias cannot have the name."""
    if not _fits(name):
        raise Refused(f"{name!r} is no name of {what}: {_NAMES}", store=store)


def _partitioning(settings: Mapping[str, Any], options: StoreOptions) -> dict[str, Any]:
    if options.namespaces == "property":
        return {"shardingConfig": {"desiredCount": int(settings.get("shards", 1))}}
    return {"multiTenancyConfig": {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": True}}


def _vector_config(metric: Metric, settings: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(settings.get("type", "hnsw"))
    quantizer = {} if kind == "hfresh" else _QUANTIZERS[str(settings.get("quantizer", "none"))]
    config = {"distance": DISTANCES[metric], **quantizer, **_tuning(settings)}
    return {"vectorizer": {"none": {}}, "vectorIndexType": kind, "vectorIndexConfig": config}


def _tuning(settings: Mapping[str, Any]) -> dict[str, Any]:
    others = {"type", "quantizer", "shards", "layout", *_OWN_NAMES}
    return {key: value for key, value in settings.items() if key not in others}


def _properties(
    settings: Mapping[str, Any], definition: CollectionDefinition, options: StoreOptions
) -> list[dict[str, Any]]:
    fields, by_property = {**options.fields, **definition.fields}, options.namespaces == "property"
    if is_envelope(settings):
        return _envelope(fields, by_property=by_property)
    id_, namespace = (str(settings.get(setting, default)) for setting, default in _OWN_NAMES.items())
    return native_properties(fields, _options_of(definition, options), id_, namespace if by_property else "")


def _envelope(fields: Mapping[str, FieldType], *, by_property: bool) -> list[dict[str, Any]]:
    keys = [ID, NAMESPACE, *([TENANT] if by_property else [])]
    return [
        *(_text(name) for name in keys),
        {"name": METADATA, "dataType": ["text"], "indexFilterable": False, "indexSearchable": False},
        _text(KEYS, "text[]"),
        *(_property(key, kind) for key, kind in fields.items()),
    ]


def _text(name: str, data_type: str = "text") -> dict[str, Any]:
    return {
        "name": name,
        "dataType": [data_type],
        "tokenization": "field",
        "indexFilterable": True,
        "indexSearchable": False,
    }


def _property(key: str, kind: FieldType) -> dict[str, Any]:
    name = encode_property(key)
    if kind in (FieldType.STRING, FieldType.STRINGS):
        made = _text(name, _DATA_TYPES[kind])
    else:
        made = {"name": name, "dataType": [_DATA_TYPES[kind]], "indexFilterable": True}
    if kind is FieldType.NUMBER:
        made["indexRangeFilters"] = True
    # A name that had to be encoded, perhaps hashed, does not tell the key.
    return made | {"description": json.dumps({"field": key})}


# --- Reading a schema


def layout_of(schema: Mapping[str, Any]) -> Layout:
    """The layout of an existing collection. Raises Unsupported where a vector is measured in a way that has no equal elsewhere."""
    shape = tuple(schema.get("properties") or ())
    properties = {item["name"]: item["dataType"][0] for item in shape}
    native = property_map(shape)
    envelope = native is None and {ID, NAMESPACE, METADATA, KEYS} <= properties.keys()
    tenancy = schema.get("multiTenancyConfig") or {}
    own = envelope or native is not None
    vectors = vectors_of_schema(schema, _described(schema) if own else {}, own=own)
    unnamed = next((each for each in vectors if not each.name), None)
    config = {} if unnamed is None else unnamed.config
    declared = [item for item in shape if item["name"] not in OWN] if envelope else []
    references = tuple(item["name"] for item in shape if refers(item))
    fields = {_key(item): _FIELD_TYPES[item["dataType"][0]] for item in declared if _is_field(item)}
    return Layout(
        schema["class"],
        own=own,
        tenants=bool(tenancy.get("enabled")),
        creates_tenants=bool(tenancy.get("autoTenantCreation")),
        wakes_tenants=bool(tenancy.get("autoTenantActivation")),
        vectors=vectors,
        dimension=None if unnamed is None else unnamed.dimension,
        metric=Metric.COSINE if unnamed is None else unnamed.metric,
        fields=fields if native is None else native.fields,
        names={_key(item): item["name"] for item in declared if _is_field(item)},
        properties=properties,
        exact=frozenset(item["name"] for item in shape if _answers_exactly(item)),
        nulls=bool((schema.get("invertedIndexConfig") or {}).get("indexNullState")),
        index=({} if unnamed is None else _settings_of(unnamed.index_type, config))
        | _layout_settings(native, schema, envelope=envelope),
        shape=shape,
        references=references,
        strangers=tuple(item["name"] for item in declared if not _is_field(item)) if native is None else references,
        searches=not config.get("skip"),
        native=native,
        scope=_scope_of(native, envelope=envelope),
    )


def told(schema: Mapping[str, Any]) -> str:
    """A collection in a few words: its vectors, and whether it has tenants."""
    named = ", ".join(sorted(schema.get("vectorConfig") or {}))
    tenants = ", tenants" if (schema.get("multiTenancyConfig") or {}).get("enabled") else ""
    return f"{f'vectors {named}' if named else 'one vector without a name'}{tenants}"


def refers(item: Mapping[str, Any]) -> bool:
    """Whether a property refers to other objects: its types are names of collections, which begin with a capital."""
    return str(item["dataType"][0])[:1].isupper()


def is_object(item: Mapping[str, Any]) -> bool:
    """Whether a property holds objects, which have properties of their own."""
    return str(item["dataType"][0]).removesuffix("[]") == "object"


def withheld(item: Mapping[str, Any]) -> bool:
    """Whether a property holds something that the server answers with only where it is asked for by name."""
    if is_object(item):
        return any(map(withheld, item.get("nestedProperties") or ()))
    return item["dataType"][0] in _WITHHELD


def _settings_of(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The index in the words that `class_of` takes; of a type that it does not know, the server's own."""
    if kind not in _SETTINGS:
        return {"type": kind, **config}
    settings = {"type": kind, **{name: config[name] for name in sorted(_SETTINGS[kind]) if name in config}}
    if kind != "hfresh":
        settings["quantizer"] = _quantizer_of(config)
    return settings


def _scope_of(native: PropertyMap | None, *, envelope: bool) -> str:
    return TENANT if envelope else "" if native is None else native.namespace


def _layout_settings(native: PropertyMap | None, schema: Mapping[str, Any], *, envelope: bool) -> dict[str, Any]:
    """What makes one of our layouts again: shards only without tenants, and names of ours that are not the usual ones."""
    if not envelope and native is None:
        return {}
    made = dict[str, Any]({"layout": _ENVELOPE} if native is None else {})
    if not (schema.get("multiTenancyConfig") or {}).get("enabled"):
        made["shards"] = int((schema.get("shardingConfig") or {}).get("desiredCount", 1))
    if native is not None:
        names = zip(_OWN_NAMES.items(), (native.id, native.namespace), strict=True)
        made |= {setting: name for (setting, usual), name in names if name not in ("", usual)}
    return made


def _quantizer_of(config: Mapping[str, Any]) -> str:
    enabled = (name for name in ("rq", "bq", "sq", "pq") if (config.get(name) or {}).get("enabled"))
    name = next(enabled, "none")
    return "rq1" if name == "rq" and config["rq"].get("bits") == 1 else name


def _described(item: Mapping[str, Any]) -> dict[str, Any]:
    try:
        # Of a collection, lines after the first are markers.
        found = orjson.loads((item.get("description") or "{}").partition("\n")[0])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _key(item: Mapping[str, Any]) -> str:
    return str(_described(item).get("field", item["name"]))


def _is_field(item: Mapping[str, Any]) -> bool:
    return item["dataType"][0] in _FIELD_TYPES and ("field" in _described(item) or not item["name"].startswith(PREFIX))


def _answers_exactly(item: Mapping[str, Any]) -> bool:
    text = item["dataType"][0].startswith("text")
    return bool(item.get("indexFilterable")) and (not text or item.get("tokenization") == "field")


def undeclared(wanted: Mapping[str, FieldType], layout: Layout) -> Sequence[str]:
    """What the collection lacks of the declared fields, as text for a person; empty where it has all."""
    # In the native layout objects are in the overflow.
    inside = {FieldType.OBJECT} if layout.native is not None else set()
    lacking = {key: kind for key, kind in wanted.items() if layout.fields.get(key) is not kind and kind not in inside}
    return [f"{key!r} as {kind}" for key, kind in lacking.items() if layout.own]
