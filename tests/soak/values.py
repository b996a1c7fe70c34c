"""What the soak writes: a vector that tells the number it was made of, also where a store has normalised it."""

from collections.abc import Mapping, Sequence
from typing import Any

DIMENSION = 8
_DIGITS = DIMENSION - 1
_SPACE = 256**_DIGITS
_SPREAD = 0x9E3779B97F4A7  # odd: numbers that follow each other get vectors that lie far apart
_GATHER = pow(_SPREAD, -1, _SPACE)
WRONG = -1


def vector_of(number: int) -> list[float]:
    """A vector with one component of 1 and seven of 1/256ths, exact as float32; different for each number."""
    spread = number * _SPREAD % _SPACE
    return [1.0, *((spread >> 8 * place & 255) / 256 for place in range(_DIGITS))]


def number_of(vector: Sequence[float]) -> int:
    """The number that a vector was made of, WRONG where it was made of none."""
    if len(vector) != DIMENSION or not vector[0] > 0:
        return WRONG
    digits = [round(256 * component / vector[0]) for component in vector[1:]]
    if not all(0 <= digit < 256 for digit in digits):
        return WRONG
    return sum(digit << 8 * place for place, digit in enumerate(digits)) * _GATHER % _SPACE


def metadata_of(number: int, mark: str) -> dict[str, Any]:
    """Metadata that repeats the number, with the mark by which filters find the record."""
    return {"n": number, "mark": mark}


def value_of(vector: Sequence[float], metadata: Mapping[str, Any]) -> list[Any]:
    """What a record says of itself: the number in its vector, the one in its metadata, its mark."""
    number = metadata.get("n", WRONG)
    return [number_of(vector), int(number) if float(number).is_integer() else WRONG, str(metadata.get("mark", ""))]
