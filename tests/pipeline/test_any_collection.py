"""Any collection that Weaviate's schema language allows is refused by name at preflight, or moved whole by the server's own listing."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from weaviate.classes.config import DataType
from weaviate.classes.data import GeoCoordinate, PhoneNumber

from pipeline.worlds import World, weaviate_connection
from stores.weaviate.test_every_schema import LIKED, Shape, shapes, values_of
from stores.weaviate.tools import rest
from stores.weaviate.witness import Held, held, told
from vectorferry.core.errors import PreflightFailed, Unsupported
from vectorferry.core.records import parse_json
from vectorferry.engine import pipeline
from vectorferry.local.servers.weaviate import Weaviate

BY_HAND = os.environ.get("FUZZ_EXAMPLES", "")
EXAMPLES = int(BY_HAND or 12)
ZEROS, LAST = UUID(int=0), UUID(int=(1 << 128) - 1)
Rows = dict[tuple[str, str], Held]
_numbers = itertools.count()

QUANTIZERS: list[dict[str, Any]] = [{}, {"rq": {"enabled": True}}, {"rq": {"enabled": True, "bits": 1}}]
QUANTIZERS += [{name: {"enabled": True}} for name in ("bq", "sq", "pq")]
INDEXES = [("hnsw", each) for each in QUANTIZERS] + [("flat", {}), ("flat", {"bq": {"enabled": True}})]
INDEXES += [("hnsw", {"ef": 90, "efConstruction": 32, "maxConnections": 8}), ("hnsw", {"skip": True})]
INDEXES += [("dynamic", {"threshold": 10_000}), ("hfresh", {})]
TENANTS = ["acme", "Acme-1_", "0", "z" * 64]
STATES = [*["HOT"] * 9, "COLD"]


@dataclass(frozen=True)
class Object:
    """Properties, the length of the vector (0: none) and the references, of objects that may not be there."""

    uuid: UUID
    properties: Mapping[str, Any]
    floats: int
    likes: tuple[UUID, ...]


@dataclass(frozen=True)
class Made:
    """A collection as it is made over REST: the class, objects by tenant, and what becomes of the tenants afterwards."""

    schema: Mapping[str, Any]
    objects: Mapping[str, tuple[Object, ...]]
    states: Mapping[str, str]


@st.composite
def made(draw: st.DrawFn) -> Made:
    properties = draw(shapes())
    tenants = draw(st.one_of(st.just([]), st.lists(st.sampled_from(TENANTS), min_size=1, max_size=3, unique=True)))
    likes = draw(st.booleans())
    schema = {
        "class": "Anything",
        "description": draw(st.sampled_from(["", "plain words", '{"vectorferry": 1, "dimension": 3}', '{"a": 1}'])),
        "properties": [
            *(_property(draw, each, top=True) for each in properties),
            *([{"name": "like", "dataType": ["Liked"]}] if likes else []),
        ],
        "invertedIndexConfig": {
            "indexNullState": draw(st.booleans()),
            "indexTimestamps": draw(st.booleans()),
            "stopwords": {"preset": draw(st.sampled_from(["en", "none"]))},
        },
        **draw(vectors()),
        **({"multiTenancyConfig": _tenancy(draw)} if tenants else {}),
    }
    lengths = draw(st.sampled_from([[3], [3], [1], [0, 3], [0, 3], [0], [3, 5]]))
    least = {tenant: int(number == 0) for number, tenant in enumerate(tenants or [""])}
    objects = {tenant: draw(_objects(properties, lengths, least[tenant], likes=likes)) for tenant in least}
    return Made(schema, objects, {tenant: draw(st.sampled_from(STATES)) for tenant in tenants})


def _tenancy(draw: st.DrawFn) -> dict[str, bool]:
    return {"enabled": True, "autoTenantCreation": True, "autoTenantActivation": draw(st.booleans())}


def _property(draw: st.DrawFn, shape: Shape, *, top: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": shape.name, "dataType": [shape.kind.value]}
    if shape.kind in (DataType.TEXT, DataType.TEXT_ARRAY):
        found["tokenization"] = draw(st.sampled_from(["word", "field", "lowercase", "whitespace", "trigram"]))
    if top and not shape.inside and shape.kind not in (DataType.BLOB, DataType.BLOB_HASH, DataType.PHONE_NUMBER):
        found["indexFilterable"] = draw(st.booleans())
    if shape.inside:
        found["nestedProperties"] = [_property(draw, each, top=False) for each in shape.inside]
    return found


@st.composite
def vectors(draw: st.DrawFn) -> dict[str, Any]:
    """What a class says of its vectors: one without a name, one with, several, or a multi-vector."""
    kind, tuned = draw(st.sampled_from(INDEXES))
    metric = draw(st.sampled_from([*["cosine", "dot", "l2-squared"] * 3, "manhattan", "hamming"]))
    one = {"vectorIndexType": kind, "vectorIndexConfig": {"distance": metric, **tuned}}
    shape = draw(st.sampled_from([*["plain", "named"] * 4, "several", "multi"]))
    if shape == "plain":
        return {"vectorizer": "none", **one}
    named = {"vectorizer": {"none": {}}, **one}
    if shape == "multi":
        multi = {"vectorIndexType": "hnsw", "vectorIndexConfig": {"multivector": {"enabled": True}}}
        return {"vectorConfig": {"own": {"vectorizer": {"none": {}}, **multi}}}
    return {"vectorConfig": dict.fromkeys(("own",) if shape == "named" else ("own", "other"), named)}


@st.composite
def _objects(
    draw: st.DrawFn, properties: tuple[Shape, ...], lengths: list[int], least: int, *, likes: bool
) -> tuple[Object, ...]:
    ids = st.one_of(st.uuids(), st.sampled_from([ZEROS, LAST, UUID(int=1)]))
    refers = st.lists(st.sampled_from([LIKED, UUID(int=8)]), max_size=2, unique=True).map(tuple)
    values = st.tuples(values_of(properties), st.sampled_from([*properties, None]))
    one = st.builds(
        lambda uuid, drawn, floats, liked: Object(uuid, _with_null(*drawn), floats, liked),
        ids, values, st.sampled_from(lengths), refers if likes else st.just(()),
    )  # fmt: skip
    return tuple(draw(st.lists(one, min_size=least, max_size=5, unique_by=lambda each: each.uuid)))


def _with_null(values: dict[str, Any], null: Shape | None) -> dict[str, Any]:
    """The values as JSON, one of them null."""
    return {name: _json(value) for name, value in values.items()} | ({null.name: None} if null else {})


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, GeoCoordinate):
        return {"latitude": value.latitude, "longitude": value.longitude}
    if isinstance(value, PhoneNumber):
        return {"input": value.number, "defaultCountry": value.default_country or ""}
    return value


def make(server: Weaviate, case: Made) -> bool:
    """Make the collection; False where the server itself refuses such a class."""
    drop(server)
    try:
        rest(server, "POST", "/schema", case.schema)
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == 422, error.response.text
        return False
    for tenant, objects in case.objects.items():
        if tenant:
            rest(server, "POST", "/schema/Anything/tenants", [{"name": tenant}])
        if objects:
            raw = [_object(case.schema, tenant, number, each) for number, each in enumerate(objects)]
            rest(server, "POST", "/batch/objects", {"objects": raw})
    return True


def _object(schema: Mapping[str, Any], tenant: str, number: int, each: Object) -> dict[str, Any]:
    floats = [0.25 + number + 0.5 * place for place in range(each.floats)]
    beacons = [{"beacon": f"weaviate://localhost/Liked/{uuid}"} for uuid in each.likes]
    found = {
        "class": "Anything",
        "id": str(each.uuid),
        "properties": {**each.properties, **({"like": beacons} if beacons else {})},
    }
    named = schema.get("vectorConfig") or {}
    if floats and named:
        multi = any("multivector" in each["vectorIndexConfig"] for each in named.values())
        found["vectors"] = {name: [floats, floats] if multi else floats for name in named}
    elif floats:
        found["vector"] = floats
    return found | ({"tenant": tenant} if tenant else {})


def drop(server: Weaviate) -> None:
    rest(server, "DELETE", "/schema/Anything")


@pytest.fixture(scope="module")
def server(weaviate: Weaviate) -> Iterator[Weaviate]:
    rest(weaviate, "DELETE", "/schema/Liked")
    rest(weaviate, "POST", "/schema", {"class": "Liked", "vectorizer": "none"})
    rest(weaviate, "POST", "/objects", {"class": "Liked", "id": str(LIKED), "properties": {}})
    yield weaviate
    drop(weaviate)
    rest(weaviate, "DELETE", "/schema/Liked")


def read_postgres(url: str, collection: str) -> Rows:
    """What the target holds, by its own client."""
    with psycopg.connect(url) as connection:
        query = "SELECT attname, attndims FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname LIKE '%%:%%'"
        named = {name: bool(several) for name, several in connection.execute(query, [collection])}
        columns = ", ".join(f'"{name}"::text{"[]" if several else ""}' for name, several in sorted(named.items()))
        more = f", {columns}" if columns else ""
        rows = connection.execute(
            f'SELECT namespace, id, vector::real[], metadata{more} FROM "{collection}"'
        ).fetchall()
    found: Rows = {}
    for name, id_, floats, text, *vectors in rows:
        held = dict(zip((column.partition(":")[2] for column in sorted(named)), map(_numbers_of, vectors), strict=True))
        found[name, id_] = Held.with_named(told(parse_json(text)), floats, held)
    return found


def _numbers_of(vector: Any) -> Any:
    """A vector, or a list of them, as PostgreSQL writes it: text like [1,2]."""
    return [json.loads(each) for each in vector] if isinstance(vector, list) else vector and json.loads(vector)


def put_to_sleep(server: Weaviate, case: Made) -> None:
    asleep = [{"name": name, "activityStatus": "COLD"} for name, state in case.states.items() if state == "COLD"]
    if asleep:
        rest(server, "PUT", "/schema/Anything/tenants", asleep)


def move(world: World) -> None:
    """Preflight, export, load and every check of the evidence but what Great Expectations has to say."""
    with world.session() as session:
        _, plan = pipeline.prepare(session)
        for partition in plan.partitions:
            pipeline.move_partition(session, plan, partition)
        pipeline.wait_and_merge(session, plan)
        for partition in plan.partitions:
            pipeline.check_recall(session, plan, partition)
        pipeline.check_collection(session, plan)


@pytest.fixture
def outcomes() -> Iterator[Counter[str]]:
    """How the examples ended: printed with -s, and not all of them in one way."""
    found = Counter[str]()
    yield found
    print(dict(found))


@seed(11)
@settings(
    max_examples=EXAMPLES,
    derandomize=not BY_HAND,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(case=made())
def test_it_is_moved_whole_or_refused_at_preflight(
    world: World, server: Weaviate, database: str, outcomes: Counter[str], case: Made
) -> None:
    if not make(server, case):
        outcomes["not made"] += 1
        return
    expected = {
        (tenant, id_): each for tenant in case.objects for id_, each in held(server, "Anything", tenant).items()
    }
    put_to_sleep(server, case)
    number = next(_numbers)
    world.connections["source"] = weaviate_connection(server)
    world.spec_dict |= {"migration": f"any{number}", "fields": {}}
    world.spec_dict["source"]["collection"] = "Anything"
    world.spec_dict["target"]["collection"] = target = f"any_{number}"
    try:
        move(world)
    except (PreflightFailed, Unsupported) as refused:
        outcomes[str(refused)[:90]] += 1
        assert "Anything" in str(refused)
    else:
        outcomes["moved"] += 1
        assert read_postgres(database, target) == expected
