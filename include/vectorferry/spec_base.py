"""What the sections of a spec are made of: the base of all sections, and the types of single values."""

from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from vectorferry.errors import FilterError
from vectorferry.filters import parse_filter

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and value[:-1].replace(".", "", 1).isdigit() and value[-1] in _UNITS:
        return timedelta(seconds=float(value[:-1]) * _UNITS[value[-1]])
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    raise ValueError(f"{value!r} is no duration; write a number with s, m, h or d, as in 30s, 4h or 1d")


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
Share = Annotated[float, Field(ge=0.0, le=1.0)]
FilterObject = Annotated[dict[str, Any], AfterValidator(_valid_filter)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone; write one as in Europe/Berlin")
    return name


Timezone = Annotated[str, AfterValidator(_known_zone)]


class Section(BaseModel):
    """Base of all parts of a spec: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)
