"""Marker: what a target remembers of the journal under which a migration last wrote to it. Rule 9 of the protocol."""

from dataclasses import dataclass
from typing import Self

from vectorferry.core.errors import JournalError


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment of a migration: the journal's id, the sum of its cohorts' epochs, and a generation that was handed out already."""

    journal: str
    epoch: int
    generation: int

    def __str__(self) -> str:
        """At most 80 characters: letters, digits, spaces and dashes."""
        return f"{self.journal} {self.epoch} {self.generation}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From such a text; raises JournalError for any other."""
        try:
            journal, epoch, generation = text.split(" ")
            return cls(journal, int(epoch), int(generation))
        except ValueError:
            raise JournalError(f"the target's marker {text!r} is not one that this release writes") from None

    def contradicts(self, journal: str, epoch: int) -> str:
        """Why a journal, as it is now, cannot be the one that the target knows; empty where it can."""
        if self.journal != journal:
            return f"the target was last written under journal {self.journal}, and this one is {journal}"
        if self.epoch > epoch:
            return f"the target knows epoch {self.epoch} of journal {journal}, and the journal only {epoch}"
        return ""
