"""Values of a spec: the base of all sections, and the types of single values."""

import re
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from vectorferry.core.errors import FilterError
from vectorferry.core.filters import parse_filter

_BYTES = {
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}
_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?) ?({'|'.join(_BYTES)})")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and value[:-1].replace(".", "", 1).isdigit() and value[-1] in _UNITS:
        return timedelta(seconds=float(value[:-1]) * _UNITS[value[-1]])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    raise ValueError(f"{value!r} is no duration; write a number with s, m, h or d, as in 30s, 4h or 1d")


def _bytes(value: Any) -> Any:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found:
        return int(float(found[1]) * _BYTES[found[2]])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is no size; write a number with {', '.join(_BYTES)}, as in 16GiB or 100GB")


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
    BeforeValidator(_seconds, json_schema_input_type=str | float),
    PlainSerializer(_as_written, when_used="json"),
]
Size = Annotated[int, Field(ge=1), BeforeValidator(_bytes, json_schema_input_type=str | int)]
"""Bytes."""
Share = Annotated[float, Field(ge=0.0, le=1.0)]
FilterObject = Annotated[dict[str, Any], AfterValidator(_valid_filter)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone; write one as in Europe/Berlin")
    return name


Timezone = Annotated[str, AfterValidator(_known_zone)]


def _cron(value: Any) -> Any:
    if value in (None, "none"):
        return None
    if isinstance(value, str) and (value in _PRESETS or _is_cron(value.split())):
        return value
    raise ValueError(
        f"{value!r} is no cron expression; write minute, hour, day, month and weekday, as in '0 2 * * *', or none"
    )


def _is_cron(fields: list[str]) -> bool:
    within = zip(fields, _CRON, strict=False)
    return len(fields) == len(_CRON) and all(_CRON_FIELD.fullmatch(text) and _fits(text, most) for text, most in within)


def _fits(text: str, most: int) -> bool:
    """Whether all numbers of a field are within it; steps may be larger."""
    return all(int(number) <= most for number in re.findall(r"(?<![/0-9])[0-9]+", text))


# The largest minute, hour, day, month and weekday.
_CRON = (59, 23, 31, 12, 7)
_ITEM = r"(?:\*|[0-9]{1,2}|[A-Za-z]{3})(?:-(?:[0-9]{1,2}|[A-Za-z]{3}))?(?:/[0-9]{1,2})?"
_CRON_FIELD = re.compile(rf"{_ITEM}(?:,{_ITEM})*")
_PRESETS = frozenset({"@hourly", "@daily", "@weekly", "@monthly"})
Schedule = Annotated[str | None, BeforeValidator(_cron, json_schema_input_type=str | None)]
"""A cron expression, None where only people begin it."""


class Section(BaseModel):
    """Base of all parts of a spec: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)
