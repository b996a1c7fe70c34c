"""Samples of records, drawn by their keys alone: the same rows on every machine and in every run."""

from dataclasses import dataclass

from vectorferry.core.keys import order_hash

_LEAST_SAMPLED = 100


_HASHES = 1 << 64


@dataclass(frozen=True, slots=True)
class Sample:
    """A deterministic share of the records, judged by their keys alone."""

    share: float

    @classmethod
    def of(cls, share: float, rows: int) -> "Sample":
        """The stated share, raised so that about 100 of `rows` rows are looked at: a small partition is never left out."""
        return cls(max(share, min(1.0, _LEAST_SAMPLED / rows)) if rows else 1.0)

    @property
    def complete(self) -> bool:
        """Whether every record is in the sample."""
        return self.share >= 1.0

    def contains(self, namespace: str, id_: str) -> bool:
        """Whether the record is in the sample."""
        return self.complete or order_hash(namespace, id_) < self.share * _HASHES
