"""Ids of points: a whole number of 64 bits or a UUID, the record's own id where it is one, else a UUID made of namespace and id."""

import re
from collections.abc import Iterable
from typing import Any

from vectorferry.core.keys import point_key, point_of_key
from vectorferry.core.names import record_uuid_text
from vectorferry.stores.qdrant.messages import Condition, PointId

_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


def own_point(id_: str) -> str | None:
    """The id itself where a point can have it, None where none can."""
    return id_ if point_key(id_) is not None else None


def hashed_point(namespace: str, id_: str) -> str:
    """The UUID that stands for a record of a namespace."""
    return record_uuid_text(namespace, id_)


def may_be_hashed(point: str) -> bool:
    """Whether a point's id looks like those that `hashed_point` makes."""
    return len(point) == 36 and point[14] == "5"


def fill(target: Any, point: str) -> None:
    """Write a point's id into a message."""
    if _NUMBER.fullmatch(point):
        target.num = int(point)
    else:
        target.uuid = point


def message(point: str) -> Any:
    """A point's id as a message."""
    made = PointId()
    fill(made, point)
    return made


def text(found: Any) -> str:
    """A point's id as the text that stands for it: decimal digits, or a UUID in lowercase."""
    return str(found.num) if found.WhichOneof("point_id_options") == "num" else str(found.uuid)


def key(found: Any) -> str:
    """The key by which points are ordered."""
    made = point_key(text(found))
    assert made is not None, "the server gives back numbers and UUIDs"
    return made


def of_key(start: str | None) -> Any | None:
    """The point at which a range of keys begins, None for the very first, and where no point has such a key."""
    point = None if start is None else point_of_key(start)
    return None if point is None or point_key(point) != start else message(point)


def following(found: Any) -> Any | None:
    """The first id behind a point's, None behind the last one."""
    if found.WhichOneof("point_id_options") == "num":
        return PointId(num=found.num + 1) if found.num + 1 < 1 << 64 else message(_FIRST_UUID)
    number = int(found.uuid.replace("-", ""), 16) + 1
    return None if number >> 128 else PointId(uuid=_uuid(number))


_FIRST_UUID = "00000000-0000-0000-0000-000000000000"


def _uuid(number: int) -> str:
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def among(points: Iterable[str]) -> Any:
    """The condition that a point is one of these."""
    made = Condition()
    made.has_id.SetInParent()
    for point in points:
        fill(made.has_id.has_id.add(), point)
    return made
