"""Fill levels: how full a side is of memory, disk or rows, as values that were measured elsewhere."""

from dataclasses import dataclass

from vectorferry.core.model import Side

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a side is of memory, disk (bytes) or rows; None where nothing tells. `added` is what a load is projected to add."""

    side: Side
    what: str
    used: int | None
    limit: int | None
    added: int | None = None

    @property
    def name(self) -> str:
        """As in 'target memory'."""
        return f"{self.side} {self.what}"

    @property
    def expected(self) -> int:
        """What is used, with what a load will add, as far as either is known."""
        return (self.used or 0) + (self.added or 0)

    @property
    def share(self) -> float:
        """Of the limit; 0 where there is none."""
        return self.expected / self.limit if self.limit else 0.0

    def amount(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:,.0f} rows" if self.what == "rows" else size(value)

    def __str__(self) -> str:
        used = "use not told" if self.used is None else f"{self.amount(self.used)} used"
        added = "" if self.added is None else f", {self.amount(self.added)} projected to come"
        limit = f", of {self.amount(self.limit)} ({self.share:.0%})" if self.limit else ", no limit known"
        return f"{self.name}: {used}{added}{limit}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured of a side: memory, disk and rows, each perhaps not told; `problem` says why nothing was."""

    side: Side
    store: str
    fills: tuple[Fill, ...] = ()
    read_only: bool = False
    problem: str = ""

    def full(self, share: float) -> str:
        """Why nothing should be written, at this share of any limit; empty where there is room."""
        if self.read_only:
            return f"{self.store} is read-only, as a database whose disk is full"
        return "; ".join(str(fill) for fill in self.fills if fill.share > share)


def size(value: float) -> str:
    """Bytes for people, as in 1.5 GiB."""
    unit = 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{value:.0f} B"
