"""Control plane of Pinecone: where an index is, what it is like, creating and deleting it."""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from pinecone import Index, Pinecone, RetryConfig
from pinecone.grpc import GrpcIndex
from pinecone.models.indexes.index import IndexModel
from pinecone.models.indexes.schema import (
    BooleanField,
    DenseVectorField,
    FloatField,
    IntegerField,
    LegacyMetadataField,
    SemanticTextField,
    SparseVectorField,
    StringListField,
)
from pinecone.models.vectors.responses import DescribeIndexStatsResponse

from vectorferry.core.errors import (
    ConnectionMissing,
    NotFound,
    Refused,
    TerminalError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from vectorferry.core.model import CollectionDefinition, Metric
from vectorferry.spec.connections import Connection
from vectorferry.spec.hosts import Host, host_of
from vectorferry.stores.base import Capabilities
from vectorferry.stores.caller import Caller
from vectorferry.stores.deadline_transport import DeadlineTransport
from vectorferry.stores.pinecone.errors import translating
from vectorferry.stores.pinecone.raw_fetch import RawFetch

_PUBLIC = "https://api.pinecone.io"
_DENSE, _SPARSE = "_values", "_sparse_values"
# What metadata is indexed for filters, in indexes of plain vectors too: no search ever scores such a field.
_METADATA = (LegacyMetadataField, BooleanField, FloatField, IntegerField, StringListField)
_TO_METRIC = {"cosine": Metric.COSINE, "dotproduct": Metric.DOT, "euclidean": Metric.EUCLIDEAN}
_FROM_METRIC = {metric: name for name, metric in _TO_METRIC.items()}
SETTINGS = frozenset({"cloud", "region", "deletion_protection", "tags", "forge_page_tokens"})
_CONNECTIONS = 16
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?")
_READY_WITHIN = 300.0
_POLL = 0.25


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a connection says: `host` is the control plane's URL; `extra` may hold region, cloud, grpc_host, grpc_scheme, and the
    gRPC port: `grpc_ports` by index where each has its own, else `grpc_port`.
    """

    host: str
    key: str = field(repr=False)
    extra: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, connection: Connection) -> "Endpoint":
        """Raises ConnectionMissing without an API key."""
        if not connection.password:
            raise ConnectionMissing(f"connection {connection.name!r} has no password: Pinecone's API key goes there")
        return cls(_url(connection), connection.password, connection.extra)

    def names_grpc(self, index_host: str) -> bool:
        """Whether it is known where gRPC is: at Pinecone itself, or where the connection says."""
        told = any(self.extra.get(key) for key in ("grpc_host", "grpc_port", "grpc_ports"))
        return told or urlsplit(index_host).scheme == "https"

    def grpc(self, index: str, index_host: str) -> tuple[str, Literal["http", "https"]]:
        """Address and scheme of an index over gRPC: those of its REST host unless the connection says otherwise."""
        parts = urlsplit(index_host)
        scheme = str(self.extra.get("grpc_scheme") or parts.scheme)
        host = self.extra.get("grpc_host") or parts.hostname
        port = self.extra.get("grpc_ports", {}).get(index) or self.extra.get("grpc_port") or parts.port
        return Host(str(host)).at(port), "http" if scheme == "http" else "https"


def wrong_name(name: str) -> Iterator[str]:
    """Why an index cannot have this name."""
    if not _NAME.fullmatch(name):
        fitting = re.sub("[^a-z0-9]+", "-", name.lower())[:45].strip("-") or "index"
        yield (
            f"{name!r} is no name of an index: Pinecone takes 1 to 45 of a-z, 0-9 and -, which neither begins nor ends it; "
            f"as in {fitting!r}"
        )


def _url(connection: Connection) -> str:
    host = host_of(connection, ("https", "http"))
    if not host.name:
        return _PUBLIC
    if host.name.endswith(".pinecone.io") and ".svc." in host.name:
        raise ConnectionMissing(
            f"connection {connection.name!r} names the host of one index, {host.name}: leave the host empty, "
            "for Pinecone tells it of every index by its name"
        )
    scheme = host.scheme or connection.extra.get("scheme") or "https"
    return f"{scheme}://{host.at(host.port)}"


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """One index: `host` is its URL, `dimension` None where it holds sparse vectors only; `sparse`: takes sparse vectors.

    `notes`: what people should know of it before they move it.
    """

    name: str
    host: str
    dimension: int | None
    metric: Metric
    sparse: bool
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def indexes(endpoint: Endpoint, deadline: float) -> dict[str, str]:
    """Every index that the key reaches, with its vectors in a few words."""
    call, store = Caller(), "pinecone"

    def request() -> list[IndexModel]:
        with translating(store, write=False), closing(_connected(endpoint, store, deadline)) as client:
            return list(client.indexes.list())

    return {model.name: _told(model) for model in call(request)}


def _told(model: IndexModel) -> str:
    vectors = [
        f"{each.dimension} dimensions, {each.metric}"
        for each in model.schema.fields.values()
        if isinstance(each, DenseVectorField)
    ]
    kinds = {SparseVectorField: "sparse vectors", SemanticTextField: "embeds texts by itself"}
    vectors += [
        word for kind, word in kinds.items() if any(isinstance(each, kind) for each in model.schema.fields.values())
    ]
    return ", ".join(vectors) or "a document schema"


def _connected(endpoint: Endpoint, store: str, deadline: float) -> Pinecone:
    with translating(store, write=False):
        client = Pinecone(api_key=endpoint.key, host=endpoint.host, timeout=deadline)
    _send_once(client, deadline)
    return client


class ControlPlane:
    """The control plane for one index name. Thread-safe. Methods raise store errors."""

    def __init__(self, endpoint: Endpoint, index: str, deadline: float, caller: Caller) -> None:
        self._endpoint = endpoint
        self._name = index
        self._store = f"pinecone {index}"
        self._deadline = deadline
        self._call = caller
        self._lock = threading.Lock()
        self._opened: Pinecone | None = None

    def find(self) -> IndexInfo:
        """The index. Raises NotFound, and Unsupported for one with a document schema, which the vectors API reads as empty.

        Of an index that embeds text by itself only the statistics tell what its vectors are like.
        """
        model = self._describe()
        embedded = {name: each for name, each in model.schema.fields.items() if isinstance(each, SemanticTextField)}
        self._refuse_documents(model, embedded)
        if embedded:
            return self._embedding(model, *next(iter(embedded.items())))
        dense = model.schema.fields.get(_DENSE)
        return IndexInfo(
            name=model.name,
            host=self._index_url(model),
            dimension=dense.dimension if isinstance(dense, DenseVectorField) else None,
            metric=_TO_METRIC[dense.metric] if isinstance(dense, DenseVectorField) else Metric.DOT,
            sparse=_takes_sparse(model),
            settings=_settings(model),
        )

    def create(self, definition: CollectionDefinition) -> None:
        """Create a serverless index and wait until it is ready. Raises AlreadyExists, Refused."""
        self._call(lambda: self._create(definition), retry=False)
        self._await("ready", self._ready)

    def marker(self, name: str) -> str | None:
        """The text that was kept in a tag of the index; None without the index."""
        try:
            return (self._describe().tags or {}).get(_tag(name))
        except NotFound:
            return None

    def keep_marker(self, name: str, text: str | None) -> None:
        """Keep a text in a tag of the index; the others stay. Raises NotFound."""

        def keep() -> None:
            with translating(self._store, write=True):
                self._client().indexes.configure(self._name, tags={_tag(name): text or ""})  # an empty one is removed

        self._call(keep)

    def drop(self) -> None:
        """Delete the index and wait until it is gone; not-found is success. Raises Refused where deletion protection is on."""
        try:
            self._call(self._delete)
        except NotFound:
            return
        except (Unauthorized, Refused) as error:
            if "deletion protection" not in str(error).lower():
                raise
            message = "deletion protection is on; switch it off in Pinecone's console first"
            raise Refused(message, store=self._store) from error
        self._await("gone", self._gone)

    def reaches_grpc(self, info: IndexInfo) -> bool:
        """Whether it is known where the index is over gRPC."""
        return self._endpoint.names_grpc(info.host)

    def rest(self, info: IndexInfo) -> Index:
        """The data plane over REST, without the SDK's retries."""
        with translating(self._store, write=False):
            index = Index(host=info.host, api_key=self._endpoint.key, timeout=self._deadline)
        _send_once(index, self._deadline)
        return index

    def grpc(self, info: IndexInfo) -> GrpcIndex:
        """The data plane over gRPC, without the SDK's retries; its timeout is a deadline over connecting, sending and answer."""
        host, scheme = self._endpoint.grpc(info.name, info.host)
        with translating(self._store, write=False):
            return GrpcIndex(
                host=host,
                api_key=self._endpoint.key,
                grpc_scheme=scheme,
                timeout=self._deadline,
                connect_timeout=min(5.0, self._deadline),
                retry_config=RetryConfig(max_retries=0),
            )

    def raw_fetch(self, info: IndexInfo) -> RawFetch:
        """Fetches over gRPC past the SDK, from the same place."""
        host, scheme = self._endpoint.grpc(info.name, info.host)
        return RawFetch(
            host, secure=scheme == "https", key=self._endpoint.key, deadline=self._deadline, store=self._store
        )

    def close(self) -> None:
        """Release connections; the next call opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _client(self) -> Pinecone:
        with self._lock:
            if self._opened is None:
                self._opened = _connected(self._endpoint, self._store, self._deadline)
            return self._opened

    def _describe(self) -> IndexModel:
        def request() -> IndexModel:
            with translating(self._store, write=False):
                return self._client().indexes.describe(self._name)

        return self._call(request)

    def _create(self, definition: CollectionDefinition) -> None:
        where = {**self._endpoint.extra, **definition.index}
        with translating(self._store, write=True):
            self._client().indexes.create(
                name=self._name,
                schema={"fields": _fields(definition)},
                deployment={
                    "deployment_type": "managed",
                    "cloud": where.get("cloud") or "aws",
                    "region": where.get("region") or "us-east-1",
                },
                deletion_protection=definition.index.get("deletion_protection"),
                tags=definition.index.get("tags"),
                timeout=-1,
            )

    def _delete(self) -> None:
        with translating(self._store, write=True):
            self._client().indexes.delete(self._name, timeout=-1)

    def _ready(self) -> bool:
        status = self._describe().status
        if status.state in ("InitializationFailed", "Terminating"):
            raise TerminalError(f"creating the index ended in the state {status.state}", store=self._store)
        return status.ready

    def _gone(self) -> bool:
        try:
            self._describe()
        except NotFound:
            return True
        return False

    def _await(self, wanted: str, reached: Callable[[], bool]) -> None:
        ends = time.monotonic() + _READY_WITHIN
        while not reached():
            if time.monotonic() > ends:
                raise Unavailable(f"the index is not {wanted} after {_READY_WITHIN:.0f} s", store=self._store)
            time.sleep(_POLL)

    def _refuse_documents(self, model: IndexModel, embedded: Collection[str]) -> None:
        metadata = {name for name, each in model.schema.fields.items() if isinstance(each, _METADATA)}
        fields = sorted(set(model.schema.fields) - {_DENSE, _SPARSE} - metadata - set(embedded))
        if fields:
            raise Unsupported(
                f"the index has a document schema (fields {', '.join(fields)}); only indexes of plain vectors can be read",
                store=self._store,
            )

    def _embedding(self, model: IndexModel, name: str, text: SemanticTextField) -> IndexInfo:
        """An index made for a model of Pinecone's, which the vectors API reads like any other: the text is a key of the metadata."""
        note = (
            f"Pinecone itself embeds the texts of this index (field {name!r}, model {text.model!r}), and what is asked of it: the vectors "
            "and the texts are moved, the embedding is not. Applications that write or ask by text need that model after the cut-over"
        )
        sparse = IndexInfo(
            model.name, self._index_url(model), None, Metric.DOT, sparse=True, settings=_settings(model), notes=(note,)
        )
        told = self._statistics(sparse)
        if told.vector_type == "sparse":
            return sparse
        metric = _TO_METRIC.get(told.metric or text.metric or "")
        if told.dimension is None or metric is None:
            raise Unsupported(
                f"the index embeds texts by itself (field {name!r}, model {text.model!r}), and neither its schema nor its statistics tell "
                f"the dimension and the metric of its vectors (dimension {told.dimension}, metric {told.metric or text.metric}): "
                "move it once it has records",
                store=self._store,
            )
        return replace(sparse, dimension=told.dimension, metric=metric, sparse=metric is Metric.DOT)

    def _statistics(self, info: IndexInfo) -> DescribeIndexStatsResponse:
        with closing(self.rest(info)) as client:

            def request() -> DescribeIndexStatsResponse:
                with translating(self._store, write=False):
                    return client.describe_index_stats()

            return self._call(request)

    def _index_url(self, model: IndexModel) -> str:
        if not model.host:
            raise Unavailable("the index has no host yet", store=self._store)
        plain = urlsplit(self._endpoint.host).scheme == "http"
        return model.host.replace("https://", "http://", 1) if plain else model.host


def _send_once(client: Pinecone | Index, deadline: float) -> None:
    """Put our transport in the place of the SDK's, which retries whatever its options say: there is no public way to stop it."""
    inner = cast("Any", client)._http._client  # noqa: SLF001
    inner._transport.close()  # noqa: SLF001
    inner._transport = DeadlineTransport(deadline, _CONNECTIONS)  # noqa: SLF001


def _fields(definition: CollectionDefinition) -> dict[str, Any]:
    """The two reserved fields make an index of plain vectors; only a dotproduct index can take sparse ones besides.

    Without a dimension it is one of sparse vectors only.
    """
    if definition.dimension is None:
        return {_SPARSE: {"type": "sparse_vector"}}
    dense = {"type": "dense_vector", "dimension": definition.dimension, "metric": _FROM_METRIC[definition.metric]}
    sparse = {_SPARSE: {"type": "sparse_vector"}} if definition.metric is Metric.DOT else {}
    return {_DENSE: dense, **sparse}


def _takes_sparse(model: IndexModel) -> bool:
    dense = model.schema.fields.get(_DENSE)
    if not isinstance(model.schema.fields.get(_SPARSE), SparseVectorField):
        return False
    return not isinstance(dense, DenseVectorField) or dense.metric == "dotproduct"


def _tag(name: str) -> str:
    return f"vectorferry-{name}"


def _settings(model: IndexModel) -> dict[str, Any]:
    deployment = model.deployment
    found = {key: getattr(deployment, key, None) for key in ("cloud", "region")}
    return {key: value for key, value in found.items() if value is not None}


def wrong_sparse(definition: CollectionDefinition, able: Capabilities) -> Iterator[str]:
    """What keeps an index of sparse vectors only from being made."""
    if definition.metric is not Metric.DOT:
        yield f"an index of sparse vectors only is measured by {Metric.DOT}, not by {definition.metric}"
    for name, spec in definition.named.items():
        yield f"the vector {name!r} is {spec.kind}: {able.product} holds no vectors with a name"
