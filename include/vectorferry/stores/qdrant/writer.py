"""Writer of one collection: puts, partial updates and deletions of points, each acknowledged once it is done."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from vectorferry.core.errors import NotFound, OutcomeUnknown
from vectorferry.core.records import parse_json
from vectorferry.stores.batching import by_namespace
from vectorferry.stores.caller import Caller
from vectorferry.stores.qdrant import ids, messages
from vectorferry.stores.qdrant.client import Wire
from vectorferry.stores.qdrant.filters import any_of, in_namespace, is_empty, none_of
from vectorferry.stores.qdrant.payloads import NORMS, OVERFLOW, comes_back, entry, fill
from vectorferry.stores.qdrant.reader import PointReader
from vectorferry.stores.qdrant.rows import fill_vectors, path_parts, point_of, put_points, set_namespace
from vectorferry.stores.qdrant.schema import path_of
from vectorferry.stores.qdrant.vectors import Column
from vectorferry.stores.row_limits import Reason


class PointWriter:
    """Writes to the collection of a reader."""

    def __init__(self, link: Wire, collection: str, reader: PointReader, call: Caller, store: str) -> None:
        self._link, self._collection, self._reader, self._call, self._store = link, collection, reader, call, store
        self._layout = reader.layout

    def put(self, batch: pa.RecordBatch) -> None:
        """Put the rows, each in the place of the whole point that was there."""
        request = messages.UpsertPoints(collection_name=self._collection, wait=True)
        put_points(request.points, self._layout, batch)
        if request.points:
            self._write("Points/Upsert", request)

    def clashes(self, batch: pa.RecordBatch) -> Iterator[Reason]:
        """Rows at whose points other records lie. Asks the server."""
        start = 0
        for namespace, part in by_namespace(batch):
            points = [point_of(self._layout, namespace, id_) or "" for id_ in part.column("id").to_pylist()]
            there = self._others_at(namespace, part.column("id").to_pylist(), points)
            for row, point in enumerate(points):
                if point in there:
                    yield (
                        start + row,
                        f"another record lies at the point {point} that this one would have: give one of them another id",
                    )
            start += len(part)

    def _others_at(self, namespace: str, wanted: Sequence[str], points: Sequence[str]) -> set[str]:
        """Those of the points of a namespace's records at which records of another id or namespace lie."""
        layout, found = self._layout, self._reader.points_that
        if not layout.own:
            if not layout.namespace_field:
                return set()
            return found([ids.among(points)], [_all(in_namespace(layout, namespace))], len(points))
        nameless = is_empty(path_of(layout.id_field))
        hashed = [point for point, id_ in zip(points, wanted, strict=True) if point != id_]
        own = [point for point, id_ in zip(points, wanted, strict=True) if point == id_ and ids.may_be_hashed(point)]
        others = found([ids.among(hashed), nameless], [], len(hashed)) if hashed else set[str]()
        return others | (found([ids.among(own)], [nameless], len(own)) if own else set())

    def update(self, patch: pa.RecordBatch) -> None:
        """Change a record in one request; one that is not there is no error."""
        namespace, id_, text = (patch.column(name)[0].as_py() for name in ("namespace", "id", "metadata"))
        point = point_of(self._layout, namespace, id_)
        if point is None:
            return
        request = messages.UpdateBatchPoints(collection_name=self._collection, wait=True)
        self._add_vector(request, patch, point, namespace, id_)
        self._add_metadata(request, namespace, text, self._at(point, namespace, id_))
        if not request.operations:
            return
        try:
            self._write("Points/UpdateBatch", request, messages.UpdateBatchResponse)
        except NotFound:
            self._reader.count()  # raises where it is the collection that is not there

    def _at(self, point: str, namespace: str, id_: str) -> list[Any]:
        """The conditions that a point is there and is this record."""
        layout = self._layout
        found = [ids.among([point]), *in_namespace(layout, namespace)]
        if layout.own:
            nameless = is_empty(path_of(layout.id_field))
            found.append(nameless if point == id_ else none_of(nameless))
        return found

    def _add_vector(self, request: Any, patch: pa.RecordBatch, point: str, namespace: str, id_: str) -> None:
        held = self._layout.dense
        if held is None or patch.column("vector").null_count or not len(patch.column("vector")):
            return
        column = Column(held, patch)
        operation = request.operations.add().update_vectors
        changed = operation.points.add()
        ids.fill(changed.id, point)
        norms = fill_vectors(changed.vectors, [column], 0)
        where = self._at(point, namespace, id_)
        if not self._layout.own or ids.may_be_hashed(point):
            operation.update_filter.must.extend(where)
        if held.normalised:
            kept = request.operations.add().set_payload
            kept.key = NORMS
            kept.points_selector.filter.must.extend(where)
            fill(kept.payload[held.wire], norms.get(held.wire))

    def _add_metadata(self, request: Any, namespace: str, text: str, where: Sequence[Any]) -> None:
        """What the overflow has of a key is written before the key: in between the payload's value counts.

        The server takes a null for the wish to remove a key: it is kept in the overflow alone.
        """
        metadata = {self._layout.payload_key(key): value for key, value in parse_json(text).items()}
        if not metadata:
            return
        exact = {name: entry(value) for name, value in metadata.items() if _is_kept_beside(value)}
        known = [none_of(is_empty(f"{OVERFLOW}.{path_of(name)}")) for name in metadata if name not in exact]
        # A payload that has nothing of ours to be removed stays without it.
        for names, conditions in ((exact, where), (metadata.keys() - exact, [*where, any_of(*known)])):
            if names:
                over = request.operations.add().set_payload
                over.key = OVERFLOW
                over.points_selector.filter.must.extend(conditions)
                for name in names:
                    fill(over.payload[name], exact.get(name))
        plain = request.operations.add().set_payload
        plain.points_selector.filter.must.extend(where)
        for name, value in metadata.items():
            fill(plain.payload[name], value)
        if not self._layout.own and namespace and path_parts(self._layout.namespace_field)[0] in metadata:
            set_namespace(plain.payload, self._layout, namespace)  # it lies within a value that is replaced

    def delete(self, namespace: str, wanted: Sequence[str]) -> None:
        """Delete records by their ids."""
        layout = self._layout
        points = {id_: point for id_ in wanted if (point := point_of(layout, namespace, id_)) is not None}
        if not layout.own:
            self._delete(list(points.values()), in_namespace(layout, namespace))
            return
        nameless = is_empty(path_of(layout.id_field))
        self._delete([point for id_, point in points.items() if point == id_ and not ids.may_be_hashed(point)], ())
        self._delete([point for id_, point in points.items() if point == id_ and ids.may_be_hashed(point)], [nameless])
        self._delete([point for id_, point in points.items() if point != id_], [none_of(nameless)])

    def _delete(self, points: Sequence[str], conditions: Sequence[Any]) -> None:
        if not points:
            return
        request = messages.DeletePoints(collection_name=self._collection, wait=True)
        if conditions:
            request.points.filter.must.extend([ids.among(points), *conditions])
        else:
            for point in points:
                ids.fill(request.points.points.ids.add(), point)
        self._write("Points/Delete", request)

    def _write(self, method: str, request: Any, reply: Any = messages.PointsOperationResponse) -> None:
        """Send a change and hold the server to having done it. Raises OutcomeUnknown where it has only taken note of it."""

        def send() -> None:
            answer = self._link.call(method, request, reply, write=True)
            results = answer.result if isinstance(answer, messages.UpdateBatchResponse) else [answer.result]
            if any(result.status != messages.COMPLETED for result in results):
                raise OutcomeUnknown("the server took note of a write and has not done it yet", store=self._store)

        self._call(send)


def _is_kept_beside(value: Any) -> bool:
    """Whether the overflow has a value that an update writes: a null, too, which the server takes for the wish to remove the key."""
    return value is None or value == [] or not comes_back(value)


def _all(conditions: Sequence[Any]) -> Any:
    return messages.Condition(filter=messages.Filter(must=conditions))
