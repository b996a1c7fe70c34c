"""Configurations: what a collection was created with, to the engine's terms and to what the vendor's server says of it."""

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc as pb

from vectorferry.local.qdrant.problems import bad_input

# What the vendor's server takes where nobody says otherwise (its config/config.yaml).
_HNSW: Mapping[str, Any] = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10_000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
_OPTIMIZER: Mapping[str, Any] = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "indexing_threshold": 10_000,
    "flush_interval_sec": 5,
}
# The vendor's server takes a collection without vectors, the engine does not: nobody writes to this one.
_NO_VECTORS = {"(none)": edge.EdgeSparseVectorParams()}
_FLOAT_BYTES = 4
_WAL: Mapping[str, Any] = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_DATATYPES = {
    pb.Datatype.Float32: edge.VectorStorageDatatype.Float32,
    pb.Datatype.Float16: edge.VectorStorageDatatype.Float16,
    pb.Datatype.Uint8: edge.VectorStorageDatatype.Uint8,
    pb.Datatype.Turbo8: edge.VectorStorageDatatype.Turbo8,
    pb.Datatype.Turbo16: edge.VectorStorageDatatype.Turbo16,
}
MEMORIES = {
    pb.Memory.Cold: edge.Memory.Cold,
    pb.Memory.Cached: edge.Memory.Cached,
    pb.Memory.Pinned: edge.Memory.Pinned,
}


def engine_config(request: pb.CreateCollection) -> edge.EdgeConfig:
    """The engine's configuration of a collection. Raises Problem for what it does not have."""
    config = request.vectors_config
    dense: dict[str, edge.EdgeVectorParams] = {}
    if config.WhichOneof("config") == "params":
        dense = {"": _dense(config.params)}
    elif config.WhichOneof("config") == "params_map":
        dense = {name: _dense(config.params_map.map[name]) for name in config.params_map.map}
    sparse = request.sparse_vectors_config.map
    return edge.EdgeConfig(
        vectors=dense or None,
        sparse_vectors={name: _sparse(sparse[name]) for name in sparse} or (None if dense else _NO_VECTORS),
        on_disk_payload=_given(request, "on_disk_payload"),
        hnsw_config=_hnsw(request.hnsw_config, _HNSW),
        quantization_config=_quantization(request),
        optimizers=_optimizers(request.optimizers_config),
        payload_memory=_memory(request.payload),
        id_tracker_memory=_memory(request.id_tracker),
    )


def described(request: pb.CreateCollection) -> pb.CollectionConfig:
    """The configuration as the vendor's server tells it, with its defaults."""
    params = pb.CollectionParams(
        shard_number=request.shard_number or 1,
        on_disk_payload=request.on_disk_payload if request.HasField("on_disk_payload") else True,
        replication_factor=request.replication_factor or 1,
        write_consistency_factor=request.write_consistency_factor or 1,
    )
    for name in ("vectors_config", "sparse_vectors_config", "sharding_method", "payload", "id_tracker"):
        _carry(request, params, name)
    config = pb.CollectionConfig(
        params=params,
        hnsw_config=pb.HnswConfigDiff(**_HNSW),
        optimizer_config=pb.OptimizersConfigDiff(**_OPTIMIZER),
        wal_config=pb.WalConfigDiff(**_WAL),
    )
    config.hnsw_config.MergeFrom(request.hnsw_config)
    config.optimizer_config.MergeFrom(request.optimizers_config)
    config.wal_config.MergeFrom(request.wal_config)
    for name in ("quantization_config", "strict_mode_config"):
        _carry(request, config, name)
    for key in request.metadata:
        config.metadata[key].CopyFrom(request.metadata[key])
    return config


def vectors(request: pb.CreateCollection) -> int:
    """How many vectors a point has at most."""
    config = request.vectors_config
    dense = 1 if config.WhichOneof("config") == "params" else len(config.params_map.map)
    return dense + len(request.sparse_vectors_config.map)


def wants_index(request: pb.CreateCollection, unindexed: int) -> bool:
    """Whether so many vectors without an index are more than the collection is to have."""
    threshold = described(request).optimizer_config.indexing_threshold
    config = request.vectors_config
    sizes = [config.params.size, *(each.size for each in config.params_map.map.values())]
    return bool(threshold) and unindexed * max(sizes) * _FLOAT_BYTES > threshold * 1024


def updated(request: pb.CreateCollection, change: pb.UpdateCollection) -> pb.CreateCollection:
    """What the collection would have been created with to be as it is to be after a change."""
    found = pb.CreateCollection()
    found.CopyFrom(request)
    found.hnsw_config.MergeFrom(change.hnsw_config)
    found.optimizers_config.MergeFrom(change.optimizers_config)
    found.strict_mode_config.MergeFrom(change.strict_mode_config)
    _merge_params(found, change.params)
    _merge_quantization(found, change.quantization_config)
    for name, diff in _vector_diffs(change.vectors_config).items():
        _merge_vector(_vector_params(found, name), diff)
    for name in change.sparse_vectors_config.map:
        if name not in found.sparse_vectors_config.map:
            raise bad_input(f"Not existing vector name error: {name}")
        found.sparse_vectors_config.map[name].MergeFrom(change.sparse_vectors_config.map[name])
    for key in change.metadata:
        found.metadata[key].CopyFrom(change.metadata[key])
    return found


def _dense(params: pb.VectorParams) -> edge.EdgeVectorParams:
    if not params.size:
        raise bad_input("size: value 0 invalid, must be 1 or larger")
    return edge.EdgeVectorParams(
        size=params.size,
        distance=distance_of(params.distance),
        on_disk=_given(params, "on_disk"),
        multivector_config=multi_of(params),
        datatype=datatype_of(params),
        quantization_config=_quantization(params),
        hnsw_config=_hnsw(params.hnsw_config, _HNSW) if params.HasField("hnsw_config") else None,
        memory=_memory(params),
    )


def distance_of(distance: int) -> edge.Distance:
    """The engine's metric. Raises Problem."""
    if not distance or distance not in pb.Distance.values():
        raise bad_input("Bad value of distance field!")
    return getattr(edge.Distance, pb.Distance.Name(distance))  # type: ignore[no-any-return]


def multi_of(params: Any) -> edge.MultiVectorConfig | None:
    """How several vectors of one name are compared; None where there is one."""
    return edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if params.HasField("multivector_config") else None


def datatype_of(params: Any) -> edge.VectorStorageDatatype | None:
    """How numbers are stored, None for the engine's default. Raises Problem."""
    datatype = params.datatype
    if datatype == pb.Datatype.Default:
        return None
    if datatype not in _DATATYPES:
        raise bad_input(f"The engine does not store {pb.Datatype.Name(datatype)}")
    return _DATATYPES[datatype]


def modifier_of(params: Any) -> edge.Modifier | None:
    """How a sparse vector's values are weighed."""
    return edge.Modifier.Idf if params.modifier == pb.Modifier.Idf else None


def _sparse(params: pb.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=_given(params.index, "full_scan_threshold"),
        on_disk=_given(params.index, "on_disk"),
        modifier=modifier_of(params),
        datatype=datatype_of(params.index),
        memory=_memory(params.index),
    )


def _hnsw(diff: pb.HnswConfigDiff, defaults: Mapping[str, Any]) -> edge.HnswIndexConfig:
    given = {field.name: value for field, value in diff.ListFields() if field.name != "memory"}
    return edge.HnswIndexConfig(**{**defaults, **given}, memory=_memory(diff))


def _optimizers(diff: Any) -> edge.EdgeOptimizersConfig:
    known = (
        "deleted_threshold",
        "vacuum_min_vector_number",
        "default_segment_number",
        "max_segment_size",
        "indexing_threshold",
    )
    given = {name: getattr(diff, name) for name in known if diff.HasField(name)}
    return edge.EdgeOptimizersConfig(
        **{name: value for name, value in {**_OPTIMIZER, **given}.items() if name in known}
    )


def _quantization(message: Any) -> Any:
    if not message.HasField("quantization_config"):
        return None
    config = message.quantization_config
    kind = config.WhichOneof("quantization")
    if kind is None:
        raise bad_input("Malformed QuantizationConfig")
    return _QUANTIZATIONS[kind](getattr(config, kind))


def _scalar(config: pb.ScalarQuantization) -> edge.ScalarQuantizationConfig:
    return edge.ScalarQuantizationConfig(
        edge.ScalarType.Int8, _given(config, "quantile"), _given(config, "always_ram"), _memory(config)
    )


def _product(config: pb.ProductQuantization) -> edge.ProductQuantizationConfig:
    ratio = getattr(edge.CompressionRatio, pb.CompressionRatio.Name(config.compression).upper())
    return edge.ProductQuantizationConfig(ratio, _given(config, "always_ram"), _memory(config))


def _binary(config: pb.BinaryQuantization) -> edge.BinaryQuantizationConfig:
    encoding = pb.BinaryQuantizationEncoding.Name(config.encoding) if config.HasField("encoding") else None
    asked = None
    if config.query_encoding.WhichOneof("variant"):
        asked = pb.BinaryQuantizationQueryEncoding.Setting.Name(config.query_encoding.setting)
    return edge.BinaryQuantizationConfig(
        _given(config, "always_ram"),
        getattr(edge.BinaryQuantizationEncoding, encoding) if encoding else None,
        getattr(edge.BinaryQuantizationQueryEncoding, asked) if asked else None,
        _memory(config),
    )


def _turbo(config: pb.TurboQuantization) -> edge.TurboQuantQuantizationConfig:
    bits = getattr(edge.TurboQuantBitSize, pb.TurboQuantBitSize.Name(config.bits)) if config.HasField("bits") else None
    return edge.TurboQuantQuantizationConfig(_given(config, "always_ram"), bits, _memory(config))


_QUANTIZATIONS: Mapping[str, Callable[[Any], Any]] = {
    "scalar": _scalar,
    "product": _product,
    "binary": _binary,
    "turboquant": _turbo,
}


def _merge_params(found: pb.CreateCollection, change: pb.CollectionParamsDiff) -> None:
    for name in ("replication_factor", "write_consistency_factor", "on_disk_payload"):
        if change.HasField(name):
            setattr(found, name, getattr(change, name))
    for name in ("payload", "id_tracker"):
        _carry(change, found, name)


def _merge_quantization(found: Any, change: pb.QuantizationConfigDiff) -> None:
    kind = change.WhichOneof("quantization")
    if kind == "disabled":
        found.ClearField("quantization_config")
    elif kind is not None:
        getattr(found.quantization_config, kind).CopyFrom(getattr(change, kind))


def _vector_diffs(change: pb.VectorsConfigDiff) -> dict[str, pb.VectorParamsDiff]:
    if change.WhichOneof("config") == "params":
        return {"": change.params}
    return {name: change.params_map.map[name] for name in change.params_map.map}


def _vector_params(found: pb.CreateCollection, name: str) -> Any:
    config = found.vectors_config
    if config.WhichOneof("config") == "params" and not name:
        return config.params
    if config.WhichOneof("config") == "params_map" and name in config.params_map.map:
        return config.params_map.map[name]
    raise bad_input(f"Not existing vector name error: {name}")


def _merge_vector(params: Any, diff: Any) -> None:
    if diff.HasField("hnsw_config"):
        params.hnsw_config.MergeFrom(diff.hnsw_config)
    for name in ("on_disk", "memory"):
        if diff.HasField(name):
            setattr(params, name, getattr(diff, name))
    _merge_quantization(params, diff.quantization_config)


def _memory(message: Any) -> edge.Memory | None:
    return MEMORIES.get(message.memory) if message.HasField("memory") else None


def _given(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _carry(source: Any, target: Any, name: str) -> None:
    if not source.HasField(name):
        return
    value = getattr(source, name)
    if hasattr(value, "SerializeToString"):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)
