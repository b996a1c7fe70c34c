"""Quoting: names and values as DataFusion's SQL takes them, so that none can be taken for anything else."""

from collections.abc import Iterable

_LEAST = -(1 << 63)


def quoted(*path: str) -> str:
    """A column, or a part of a struct, as SQL names it; letters keep their case."""
    return ".".join(f"`{name}`" for name in path)


def literal(value: str | float) -> str:
    """A text, number or boolean as SQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value == _LEAST:
        return f"({_LEAST + 1} - 1)"  # the engine reads it as the negative of a number that 64 bits do not hold
    return repr(value) if isinstance(value, (int, float)) else "'" + value.replace("'", "''") + "'"


def listed(values: Iterable[str | int]) -> str:
    """Values between the brackets of IN."""
    return ", ".join(map(literal, values))
