"""Schema of a collection in Qdrant: the one that we create, and what an existing one says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from qdrant_client import grpc as vendor

from vectorferry.core.errors import Unsupported
from vectorferry.core.model import CollectionDefinition, FieldOptions, FieldType, Metric, VectorKind
from vectorferry.stores.base import StoreOptions
from vectorferry.stores.obstacles import unknown_settings
from vectorferry.stores.qdrant import messages
from vectorferry.stores.qdrant.payloads import NORMS, OVERFLOW, metadata_key, payload_key, plain
from vectorferry.stores.qdrant.payloads import fill as fill_value
from vectorferry.stores.qdrant.vectors import HeldVector

MARK = "vectorferry"
"""In the metadata of a collection of ours: which fields and vectors of it are what."""
ID, NAMESPACE = "source_id", "namespace"
MAX_DIMENSION = 65_536
_MAX_NAME = 255
_MOST_NAMES = 1000
_FORBIDDEN = frozenset('<>:"/\\|?*\0\x1f')
_DENSE, _SPARSE = ("default", "vf_default"), ("sparse", "vf_sparse")
_DISTANCES = {
    Metric.COSINE: vendor.Distance.Cosine,
    Metric.DOT: vendor.Distance.Dot,
    Metric.EUCLIDEAN: vendor.Distance.Euclid,
}
_METRICS = {distance: metric for metric, distance in _DISTANCES.items()}
_DATATYPES = {"float32": vendor.Datatype.Float32, "float16": vendor.Datatype.Float16, "uint8": vendor.Datatype.Uint8}
_TOKENIZERS = {
    "word": vendor.TokenizerType.Word,
    "whitespace": vendor.TokenizerType.Whitespace,
    "prefix": vendor.TokenizerType.Prefix,
    "multilingual": vendor.TokenizerType.Multilingual,
}
_INDEXES: Mapping[FieldType, str] = {
    FieldType.STRING: "Keyword",
    FieldType.UUID: "Keyword",  # an index of UUIDs finds other spellings, too
    FieldType.TEXT: "Text",
    FieldType.NUMBER: "Float",
    FieldType.INTEGER: "Integer",
    FieldType.BOOLEAN: "Bool",
    FieldType.DATE: "Datetime",
}
_FIELDS = {
    "Keyword": FieldType.STRING,
    "Integer": FieldType.INTEGER,
    "Float": FieldType.NUMBER,
    "Bool": FieldType.BOOLEAN,
    "Datetime": FieldType.DATE,
    "Text": FieldType.TEXT,
    "Uuid": FieldType.UUID,
}
_HNSW = ("m", "ef_construct", "full_scan_threshold", "payload_m")
_NUMBERS = frozenset({*_HNSW, "indexing_threshold", "shards", "replicas", "write_consistency"})
_FLAGS = frozenset({"on_disk", "always_ram", "on_disk_payload"})
_TEXTS = frozenset({"quantizer", "datatype", "compression", "id_field", "namespace_field"})
_QUANTIZERS = ("scalar", "product", "binary", "none")
_OF_VECTOR = frozenset({*_HNSW, "on_disk", "quantizer", "quantile", "always_ram", "compression", "datatype"})
_OF_COLLECTION = frozenset(
    {"indexing_threshold", "shards", "replicas", "write_consistency", "on_disk_payload", "id_field", "namespace_field"}
)
_OF_SPARSE = frozenset({"full_scan_threshold", "on_disk", "modifier"})


@dataclass(frozen=True, slots=True)
class Layout:
    """What an existing collection says. `own`: made by us.

    `id_field` is the payload key of ids that no point can have (empty in a collection of others, whose ids are the points' own),
    `namespace_field` that of namespaces, empty where there is no place for one; in a collection of others it may be a path with dots.
    `sparse` is the sparse vector without a name. `indexes` are the payload indexes by their paths, as the server calls their types.
    """

    own: bool
    id_field: str
    namespace_field: str
    vectors: tuple[HeldVector, ...]
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    field_options: Mapping[str, FieldOptions] = field(default_factory=dict)
    index: Mapping[str, Any] = field(default_factory=dict)
    indexes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _names: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def dense(self) -> HeldVector | None:
        """The dense vector without a name."""
        return next((each for each in self.vectors if each.unnamed and each.kind is VectorKind.DENSE), None)

    @property
    def sparse(self) -> HeldVector | None:
        """The sparse vector without a name."""
        return next((each for each in self.vectors if each.unnamed and each.kind is VectorKind.SPARSE), None)

    @property
    def named(self) -> dict[str, HeldVector]:
        """All other vectors, by their names."""
        return {each.name: each for each in self.vectors if not each.unnamed}

    def payload_key(self, key: str) -> str:
        """What a metadata key is called in the payload."""
        name = self._names.get(key)
        if name is None:
            taken = (self.id_field, self.namespace_field) if self.own else ()
            name = payload_key(key, {OVERFLOW, NORMS, *filter(None, taken)}, prefix=self.own)
            if len(self._names) < _MOST_NAMES:
                self._names[key] = name
        return name

    def metadata_key(self, name: str) -> str:
        """The metadata key that a name in the payload stands for; one that only looks like one of ours is itself."""
        key = metadata_key(name)
        return key if key == name or self.payload_key(key) == name else name

    @property
    def definition(self) -> CollectionDefinition:
        """The vectors that it has, as they could be made again."""
        dense = self.dense
        return CollectionDefinition(
            None if dense is None else dense.dimension,
            Metric.COSINE if dense is None else dense.metric,
            named={name: each.spec for name, each in self.named.items()},
        )


# --- What could not be made


def refused_name(name: str, what: str = "a collection") -> Iterator[str]:
    """Why nothing can have this name."""
    if not 0 < len(name) <= _MAX_NAME or _FORBIDDEN & set(name):
        yield (
            f'{name!r} is no name that {what} in Qdrant can have: take 1 to {_MAX_NAME} characters, and none of < > : " / \\ | ? *'
        )


def wrong_settings(settings: Mapping[str, Any], known: "frozenset[str] | set[str]", of: str = "") -> Iterator[str]:
    """Index settings that Qdrant does not have, or with values that they cannot have."""
    yield from unknown_settings(settings, known, of)
    for key, value in sorted(settings.items()):
        whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if (
            (key in _NUMBERS and not whole)
            or (key in _FLAGS and not isinstance(value, bool))
            or (key in _TEXTS and (not isinstance(value, str) or not value))
        ):
            kind = "a whole number" if key in _NUMBERS else "true or false" if key in _FLAGS else "text"
            yield f"index setting {key!r} takes {kind}, not {value!r}"
    if settings.get("quantizer", "none") not in _QUANTIZERS:
        yield f"index setting 'quantizer' is {settings['quantizer']!r}; there are {', '.join(_QUANTIZERS)}"
    if settings.get("datatype", "float32") not in _DATATYPES:
        yield f"index setting 'datatype' is {settings['datatype']!r}; there are {', '.join(_DATATYPES)}"


def wrong_indexes(definition: CollectionDefinition, options: StoreOptions) -> Iterator[str]:
    """What is wrong with the index settings of a definition, and names of ours that are taken twice."""
    settings = {**options.index, **definition.index}
    yield from wrong_settings(settings, _OF_VECTOR | _OF_COLLECTION)
    for name, spec in definition.named.items():
        known = _OF_SPARSE if spec.kind is VectorKind.SPARSE else _OF_VECTOR
        yield from wrong_settings(spec.index, known, f"the vector {name!r}")
    own = [str(settings.get("id_field", ID)), str(settings.get("namespace_field", NAMESPACE))]
    if own[0] == own[1]:
        yield f"id_field and namespace_field are both {own[0]!r}: each needs a payload key of its own"
    for name in own:
        if payload_key(name, set()) != name:
            yield f"{name!r} cannot be the payload key of ids or namespaces: take one that does not begin with vf_, without quotes"
    for key, options_of in definition.field_options.items():
        if options_of.tokenization and options_of.tokenization not in _TOKENIZERS:
            yield f"the field {key!r} has the tokenization {options_of.tokenization!r}; there are {', '.join(_TOKENIZERS)}"


# --- Making


def request_of(name: str, definition: CollectionDefinition, options: StoreOptions) -> Any:
    """The request that makes a collection in our layout."""
    settings = {**options.index, **definition.index}
    made = messages.CreateCollection(collection_name=name)
    dense = next(each for each in _DENSE if each not in definition.named) if _needs_name(definition) else ""
    sparse = next(each for each in _SPARSE if each not in definition.named)
    _fill_vectors(made.vectors_config, definition, settings, dense)
    made.sparse_vectors_config.map[sparse].SetInParent()
    for spec in definition.named.values():
        if spec.kind is VectorKind.SPARSE:
            _fill_sparse(made.sparse_vectors_config.map[spec.name], spec.index)
    _fill_collection(made, settings)
    mark = {
        "id": settings.get("id_field", ID),
        "namespace": settings.get("namespace_field", NAMESPACE),
        "dense": dense if definition.dimension is not None else None,
        "sparse": sparse,
        "fields": {key: str(kind) for key, kind in definition.fields.items()},
        "options": {key: _options_json(each) for key, each in definition.field_options.items()},
    }
    fill_value(made.metadata[MARK], mark)
    return made


def _needs_name(definition: CollectionDefinition) -> bool:
    """Whether the dense vector without a name has to have one in Qdrant, where it is not the only one."""
    return any(spec.kind is not VectorKind.SPARSE for spec in definition.named.values())


def _fill_vectors(target: Any, definition: CollectionDefinition, settings: Mapping[str, Any], dense: str) -> None:
    if not dense and definition.dimension is not None:
        _fill_params(target.params, definition.dimension, definition.metric, settings, VectorKind.DENSE)
        return
    target.params_map.SetInParent()
    if definition.dimension is not None:
        _fill_params(target.params_map.map[dense], definition.dimension, definition.metric, settings, VectorKind.DENSE)
    for spec in definition.named.values():
        if spec.kind is not VectorKind.SPARSE:
            _fill_params(target.params_map.map[spec.name], spec.dimension or 0, spec.metric, spec.index, spec.kind)


def _fill_params(target: Any, dimension: int, metric: Metric, settings: Mapping[str, Any], kind: VectorKind) -> None:
    target.size, target.distance = dimension, _DISTANCES[metric]
    for name in _HNSW:
        if name in settings:
            setattr(target.hnsw_config, name, settings[name])
    if "on_disk" in settings:
        target.on_disk = settings["on_disk"]
    if settings.get("datatype", "float32") != "float32":
        target.datatype = _DATATYPES[settings["datatype"]]
    if kind is VectorKind.MULTI:
        target.multivector_config.comparator = vendor.MultiVectorComparator.MaxSim
    _fill_quantizer(target.quantization_config, settings)


def _fill_quantizer(target: Any, settings: Mapping[str, Any]) -> None:
    quantizer = settings.get("quantizer", "none")
    if quantizer == "none":
        return
    chosen = getattr(target, quantizer)
    chosen.SetInParent()
    if quantizer == "scalar":
        chosen.type = vendor.QuantizationType.Int8
        if "quantile" in settings:
            chosen.quantile = settings["quantile"]
    if quantizer == "product":
        chosen.compression = vendor.CompressionRatio.Value(settings.get("compression", "x16"))
    if "always_ram" in settings:
        chosen.always_ram = settings["always_ram"]


def _fill_sparse(target: Any, settings: Mapping[str, Any]) -> None:
    target.SetInParent()
    for name in ("full_scan_threshold", "on_disk"):
        if name in settings:
            setattr(target.index, name, settings[name])
    if settings.get("modifier") == "idf":
        target.modifier = vendor.Modifier.Idf


def _fill_collection(made: Any, settings: Mapping[str, Any]) -> None:
    names = {
        "shards": "shard_number",
        "replicas": "replication_factor",
        "write_consistency": "write_consistency_factor",
        "on_disk_payload": "on_disk_payload",
    }
    for word, name in names.items():
        if word in settings:
            setattr(made, name, settings[word])
    if "indexing_threshold" in settings:
        made.optimizers_config.indexing_threshold = settings["indexing_threshold"]


def _options_json(options: FieldOptions) -> dict[str, Any]:
    return {
        "searchable": options.searchable,
        "filterable": options.filterable,
        "tokenization": options.tokenization,
    }


def index_requests(name: str, definition: CollectionDefinition, layout: Layout) -> Iterator[Any]:
    """The requests that make the payload indexes of a new collection, before there is a record in it."""
    tenant = _index(name, layout.namespace_field, "Keyword")
    tenant.field_index_params.keyword_index_params.is_tenant = True
    yield tenant
    yield _index(name, layout.id_field, "Keyword")
    for key, kind in definition.fields.items():
        options = definition.field_options.get(key, FieldOptions())
        word = _INDEXES.get(kind.item)
        if word is None or not options.filterable:
            continue
        made = _index(name, path_of(layout.payload_key(key)), word)
        if word == "Text":
            tokenizer = _TOKENIZERS[options.tokenization or "word"]
            made.field_index_params.text_index_params.tokenizer = tokenizer
        yield made


def _index(name: str, path: str, word: str) -> Any:
    made = messages.CreateFieldIndexCollection(collection_name=name, wait=True, field_name=path)
    made.field_type = vendor.FieldType.Value(f"FieldType{word}")
    return made


def path_of(key: str) -> str:
    """The path to a payload key, in quotes where it is not made of letters, digits, - and _ only."""
    plain_key = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain_key else f'"{key}"'


# --- Reading


def layout_of(info: Any, name: str, options: StoreOptions) -> Layout:
    """What a collection says of itself. Raises Unsupported for a metric that scores cannot be told in."""
    mark = plain(info.config.metadata[MARK]) if MARK in info.config.metadata else None
    own = isinstance(mark, dict)
    mark = mark if isinstance(mark, dict) else {}
    indexes = {path: vendor.PayloadSchemaType.Name(each.data_type) for path, each in info.payload_schema.items()}
    fields, field_options = _fields_of(mark) if own else (_foreign_fields(indexes), {})
    return Layout(
        own,
        str(mark.get("id") or ""),
        str(mark.get("namespace") or "") if own else _tenant_field(info, options),
        tuple(_vectors(info.config, mark, name)),
        fields,
        field_options,
        _collection_settings(info.config, mark) | _unnamed_settings(info.config, mark),
        indexes,
    )


def _fields_of(mark: Mapping[str, Any]) -> tuple[dict[str, FieldType], dict[str, FieldOptions]]:
    fields = {key: FieldType(kind) for key, kind in (mark.get("fields") or {}).items()}
    return fields, {key: FieldOptions(**each) for key, each in (mark.get("options") or {}).items()}


def _foreign_fields(indexes: Mapping[str, str]) -> dict[str, FieldType]:
    """Fields that others declared by an index; one within an object is no metadata key."""
    found = {}
    for path, word in indexes.items():
        key = path[1:-1] if path.startswith('"') else path
        if path_of(key) == path and word in _FIELDS:
            found[key] = _FIELDS[word]
    return found


def _tenant_field(info: Any, options: StoreOptions) -> str:
    """The payload key of namespaces in a collection of others: the one that a setting names, or whose index is of tenants."""
    if named := options.index.get("namespace_field"):
        return str(named)
    tenants = [
        path
        for path, each in info.payload_schema.items()
        if each.params.WhichOneof("index_params") == "keyword_index_params"
        and each.params.keyword_index_params.is_tenant
    ]
    return tenants[0] if len(tenants) == 1 else ""


def _vectors(config: Any, mark: Mapping[str, Any], name: str) -> Iterator[HeldVector]:
    unnamed = mark.get("dense") if mark else ""
    for wire, params in sorted(_dense_params(config).items()):
        if params.distance not in _METRICS:
            raise Unsupported(
                f"the vector {wire!r} is measured by {vendor.Distance.Name(params.distance)}, and there are "
                f"{', '.join(sorted(_METRICS.values()))}: its collection cannot be moved",
                store=f"qdrant {name}",
            )
        multi = params.HasField("multivector_config")
        is_unnamed = wire == unnamed and not multi
        yield HeldVector(
            wire,
            "" if is_unnamed else wire,
            VectorKind.MULTI if multi else VectorKind.DENSE,
            int(params.size),
            _METRICS[params.distance],
            _datatype(params),
            _settings_of(config, params),
            unnamed=is_unnamed,
        )
    for wire, params in sorted(config.params.sparse_vectors_config.map.items()):
        is_unnamed = wire == mark.get("sparse")
        settings = _sparse_settings(params)
        yield HeldVector(
            wire, "" if is_unnamed else wire, VectorKind.SPARSE, None, Metric.DOT, index=settings, unnamed=is_unnamed
        )


def _dense_params(config: Any) -> dict[str, Any]:
    vectors = config.params.vectors_config
    if vectors.WhichOneof("config") == "params":
        return {"": vectors.params}
    return dict(vectors.params_map.map)


def _datatype(params: Any) -> str:
    found = params.datatype if params.HasField("datatype") else vendor.Datatype.Float32
    word = {value: key for key, value in _DATATYPES.items()}.get(found)
    return "" if word in (None, "float32") else str(word)


def _settings_of(config: Any, params: Any) -> dict[str, Any]:
    """The index settings of one vector, those of the collection where it has none of its own."""
    found = dict[str, Any]()
    for name in _HNSW:
        for source in (params.hnsw_config, config.hnsw_config):
            if source.HasField(name):
                found[name] = int(getattr(source, name))
                break
    if params.HasField("on_disk"):
        found["on_disk"] = params.on_disk
    if word := _datatype(params):
        found["datatype"] = word
    return found | _quantizer_of(params if params.HasField("quantization_config") else config)


def _quantizer_of(holder: Any) -> dict[str, Any]:
    quantizer = holder.quantization_config.WhichOneof("quantization")
    if quantizer not in _QUANTIZERS:
        return {}
    chosen, found = getattr(holder.quantization_config, quantizer), {"quantizer": quantizer}
    if quantizer == "scalar" and chosen.HasField("quantile"):
        found["quantile"] = round(chosen.quantile, 6)
    if quantizer == "product":
        found["compression"] = vendor.CompressionRatio.Name(chosen.compression)
    if chosen.HasField("always_ram"):
        found["always_ram"] = chosen.always_ram
    return found


def _sparse_settings(params: Any) -> dict[str, Any]:
    found = {
        name: getattr(params.index, name) for name in ("full_scan_threshold", "on_disk") if params.index.HasField(name)
    }
    return found | ({"modifier": "idf"} if params.modifier == vendor.Modifier.Idf else {})


def _unnamed_settings(config: Any, mark: Mapping[str, Any]) -> dict[str, Any]:
    wire = mark.get("dense") if mark else ""
    params = None if wire is None else _dense_params(config).get(str(wire))
    return {} if params is None else _settings_of(config, params)


def _collection_settings(config: Any, mark: Mapping[str, Any]) -> dict[str, Any]:
    found = dict[str, Any]()
    if config.params.shard_number > 1:
        found["shards"] = int(config.params.shard_number)
    for word, name in (("replicas", "replication_factor"), ("write_consistency", "write_consistency_factor")):
        if config.params.HasField(name) and getattr(config.params, name) > 1:
            found[word] = int(getattr(config.params, name))
    if config.optimizer_config.HasField("indexing_threshold"):
        found["indexing_threshold"] = int(config.optimizer_config.indexing_threshold)
    if mark and mark.get("id") != ID:
        found["id_field"] = str(mark.get("id"))
    if mark and mark.get("namespace") != NAMESPACE:
        found["namespace_field"] = str(mark.get("namespace"))
    return found


def told(info: Any) -> str:
    """What a collection is, in a few words."""
    parts = [
        f"{wire and f'{wire}: '}{params.size} dimensions, {vendor.Distance.Name(params.distance).lower()}"
        for wire, params in sorted(_dense_params(info.config).items())
    ]
    parts += [f"{wire}: sparse" for wire in sorted(info.config.params.sparse_vectors_config.map)]
    return "; ".join(parts) or "no vectors"
