"""Values of a spec: the base of all sections, and the types of single values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, get_args
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import parse_filter

_BYTES = {
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_SIZE = re.compile(rf"({_NUMBER}) ?({'|'.join(_BYTES)})")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(rf"({_NUMBER})([{''.join(_UNITS)}])")
# Beyond it timedelta and the journal's intervals overflow; every duration of a spec has a lower bound of its own.
_MOST_SECONDS = 36_500 * 86400.0
_MOST_BYTES = 10**18


def seconds_of(text: str) -> float:
    """The seconds of a duration as people write it, as in 30s or 1d. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{shown(text)} is no duration; write a number with s, m, h or d, as in 30s, 4h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def _duration(value: Any) -> Any:
    if isinstance(value, str):
        seconds = seconds_of(value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = value
    else:
        raise ValueError(f"{shown(value)} is no duration; write a number with s, m, h or d, as in 30s, 4h or 1d")
    if not abs(seconds) <= _MOST_SECONDS:
        raise ValueError(f"{shown(value)} is longer than a hundred years, or no number")
    return timedelta(seconds=seconds)


def _bytes(value: Any) -> Any:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found:
        size = float(found[1]) * _BYTES[found[2]]
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise ValueError(f"{shown(value)} is no size; write a number with {', '.join(_BYTES)}, as in 16GiB or 100GB")
    if not 1 <= size <= _MOST_BYTES:
        raise ValueError(f"{shown(value)} is no size that a database has: from 1 byte to 1000000TB")
    return int(size)


def shown(value: Any) -> str:
    """A value as messages repeat it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…"


def in_units(seconds: float) -> str:
    """Seconds as people write a duration: in the largest unit that leaves no fraction."""
    unit = next((u for u, size in reversed(_UNITS.items()) if seconds and seconds % size == 0), "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a duration, inclusive, as in Between("1s", "1h"); without `least` it must only be longer than nothing.

    They stand in the JSON schema too, for editors and for docs/spec.md.
    """

    least: str
    most: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._within, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        low, high = seconds_of(self.least or "0s"), seconds_of(self.most)
        least = {"minimum" if self.least else "exclusiveMinimum": low}
        words = {"type": "string", "pattern": f"^({_DURATION.pattern})$"}
        return {**handler(core), "anyOf": [words, {"type": "number", **least, "maximum": high}]}

    def _within(self, value: timedelta) -> timedelta:
        seconds = value.total_seconds()
        if self.least and seconds < seconds_of(self.least):
            raise ValueError(f"{in_units(seconds)} is too short; write at least {self.least}")
        if not self.least and seconds <= 0:
            raise ValueError(f"{in_units(seconds)} is no time at all; write more than 0s")
        if seconds > seconds_of(self.most):
            raise ValueError(f"{in_units(seconds)} is too long; write at most {self.most}")
        return value


def _valid_filter(value: dict[str, Any]) -> dict[str, Any]:
    try:
        parse_filter(value)
    except FilterError as error:
        raise ValueError(str(error)) from error
    return value


def _as_written(value: timedelta) -> str:
    return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=str | float),
    PlainSerializer(_as_written, when_used="json"),
]
"""Always with its bounds: Annotated[Duration, Between("1s", "1h")]."""
_SizeText = Annotated[str, Field(pattern=f"^({_SIZE.pattern})$")]
_SizeNumber = Annotated[int, Field(ge=1, le=_MOST_BYTES)]
Size = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=_SizeText | _SizeNumber)]
"""Bytes."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Text = Annotated[str, Field(min_length=1)]
"""Text that is not empty."""
Rows = Annotated[int, Field(ge=0, le=10**12)]
FilterObject = Annotated[dict[str, JsonValue], AfterValidator(_valid_filter)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{shown(name)} is no time zone; write one as in Europe/Berlin")
    return name


Timezone = Annotated[str, AfterValidator(_known_zone)]


def _cron(value: Any) -> Any:
    if value is None or value == "none":
        return None
    if isinstance(value, str) and (value in _PRESETS or _is_cron(value.split())):
        return value
    raise ValueError(
        f"{shown(value)} is no cron expression; write minute, hour, day, month and weekday, as in '0 2 * * *', or none"
    )


def _is_cron(fields: list[str]) -> bool:
    if len(fields) != len(_CRON):
        return False
    minutes, hours, days, months, weekdays = (_numbers(text, *span) for text, span in zip(fields, _CRON, strict=True))
    if not (minutes and hours and days and months and weekdays):
        return False
    # A day that no such month has would never come; where weekdays are given too, either of the two will do.
    return fields[4] != "*" or min(days) <= max(_DAYS_IN[month] for month in months)


def _numbers(text: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    """What a field of a cron expression stands for; empty where it is none."""
    found: set[int] = set()
    for item in text.split(","):
        parts = _CRON_ITEM.fullmatch(item)
        if not parts:
            return set()
        first, last = _number(parts[1], low, names), _number(parts[2] or parts[1], low, names)
        if parts[1] == "*" or (parts[3] and not parts[2]):
            first, last = (low if parts[1] == "*" else first), high
        if not low <= first <= last <= high or parts[3] == "0":
            return set()
        found.update(range(first, last + 1, int(parts[3] or 1)))
    return found


def _number(text: str, low: int, names: Sequence[str]) -> int:
    if text.isdigit():
        return int(text)
    return low + names.index(text.lower()) if text.lower() in names else -1


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# Lowest and highest minute, hour, day, month and weekday, and their names.
_CRON: Sequence[tuple[int, int, Sequence[str]]] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, _MONTHS),
    (0, 7, _WEEKDAYS),
)
_CRON_ITEM = re.compile(r"(\*|[0-9]{1,2}|[A-Za-z]{3})(?:-([0-9]{1,2}|[A-Za-z]{3}))?(?:/([0-9]{1,2}))?")
_PRESETS = frozenset({"@hourly", "@daily", "@weekly", "@monthly"})
Schedule = Annotated[str | None, BeforeValidator(_cron, json_schema_input_type=str | None)]
"""A cron expression, None where only people begin it."""


class Section(BaseModel):
    """Base of all parts of a spec: unknown keys are refused, values are frozen, and yes is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # To pydantic true is 1: `rows: yes` would make partitions of one row.
        if isinstance(value, bool) and not _takes_bool(cls.model_fields[info.field_name or ""].annotation):
            raise ValueError(f"Input should not be {str(value).lower()}; put a word in quotes")
        return value


def _takes_bool(annotation: Any) -> bool:
    return annotation is bool or any(_takes_bool(each) for each in get_args(annotation))
