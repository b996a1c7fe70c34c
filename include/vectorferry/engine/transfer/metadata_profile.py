"""Profile of metadata keys: which types they have, in what share of the records, with how many values."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vectorferry.core.model import MetadataKind
from vectorferry.core.records import kind_of, parse_json, short_hash

CARDINALITY_CAP = 1_000

_KINDS: Mapping[type, MetadataKind] = {
    str: MetadataKind.STRING,
    int: MetadataKind.NUMBER,
    float: MetadataKind.NUMBER,
    bool: MetadataKind.BOOLEAN,
    type(None): MetadataKind.NULL,
}


@dataclass
class FieldProfile:
    """What was seen of one key. `values` holds hashes of distinct values, no more of them once there are CARDINALITY_CAP."""

    kinds: Counter[MetadataKind] = field(default_factory=Counter)
    values: set[str] = field(default_factory=set)
    longest: int = 0
    low: float | None = None
    high: float | None = None

    def see(self, values: Sequence[Any]) -> None:
        """Count values, of which a key has millions: those of one type are looked at together."""
        types = set(map(type, values))
        for each in types:
            self._see_alike(each, values if len(types) == 1 else [v for v in values if type(v) is each])

    def _see_alike(self, type_: type, values: Sequence[Any]) -> None:
        kind = _KINDS.get(type_)
        self.kinds.update(map(kind_of, values) if kind is None else {kind: len(values)})
        if len(self.values) < CARDINALITY_CAP:
            self.values.update(map(short_hash, values if kind is None else set(values)))
        if kind is MetadataKind.NUMBER:
            self.low = min(values) if self.low is None else min(self.low, *values)
            self.high = max(values) if self.high is None else max(self.high, *values)
        if kind is MetadataKind.STRING:
            self.longest = max(self.longest, max(map(len, values)))

    def figures(self, rows: int) -> dict[str, Any]:
        """The profile of this key as JSON; `share` is of `rows` records."""
        found = sum(self.kinds.values())
        shown: dict[str, Any] = {
            "kinds": {kind.value: count for kind, count in sorted(self.kinds.items())},
            "rows": found,
            "share": round(found / rows, 4) if rows else 0.0,
            "distinct": min(len(self.values), CARDINALITY_CAP),
            "distinct_capped": len(self.values) >= CARDINALITY_CAP,
        }
        if self.low is not None:
            shown |= {"min": self.low, "max": self.high}
        return shown | ({"longest": self.longest} if self.longest else {})


class Profile:
    """Profiles all keys of the records it is shown."""

    def __init__(self) -> None:
        self.rows = 0
        self._fields: dict[str, FieldProfile] = {}

    def see(self, metadata: Iterable[str]) -> None:
        """Count records by their canonical JSON."""
        columns: dict[str, list[Any]] = defaultdict(list)
        for text in metadata:
            self.rows += 1
            if text != "{}":
                for key, value in parse_json(text).items():
                    columns[key].append(value)
        for key, values in columns.items():
            self._fields.setdefault(key, FieldProfile()).see(values)

    def figures(self) -> dict[str, Any]:
        """The profile as JSON: {"rows": n, "fields": {key: figures}}."""
        return {"rows": self.rows, "fields": {key: f.figures(self.rows) for key, f in sorted(self._fields.items())}}


def merge_figures(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Profiles of several partitions as one; distinct counts become the largest of one partition, a lower bound."""
    rows = sum(p["rows"] for p in profiles)
    merged: dict[str, dict[str, Any]] = {}
    for profile in profiles:
        for key, figures in profile["fields"].items():
            merged[key] = _merge_field(merged[key], figures) if key in merged else dict(figures)
    for figures in merged.values():
        figures["share"] = round(figures["rows"] / rows, 4) if rows else 0.0
    return {"rows": rows, "fields": dict(sorted(merged.items()))}


def _merge_field(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    both = {"kinds": dict(Counter(left["kinds"]) + Counter(right["kinds"])), "rows": left["rows"] + right["rows"]}
    both |= {"distinct": max(left["distinct"], right["distinct"])}
    both |= {"distinct_capped": left["distinct_capped"] or right["distinct_capped"]}
    for name, pick in (("min", min), ("max", max), ("longest", max)):
        values = [side[name] for side in (left, right) if name in side]
        both |= {name: pick(values)} if values else {}
    return both
