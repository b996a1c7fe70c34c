"""Every error that Vectorferry raises on purpose.

VectorferryError
├── SpecError                     the spec file: file, line, what is wrong, the nearest valid key
├── ConnectionMissing             a connection is missing or malformed, or no package has the store for its type
├── RecordError                   an invalid record, which no store may be sent (NaN, a bad id, a bad type)
├── FilterError                   a filter that is invalid, or that a store does not support
├── StoreError                    what a database said; always one of the two below
│   ├── RetryableError            may be tried again (a write only if it is idempotent)
│   │   ├── RateLimited           429, with the wait that the vendor asks for
│   │   ├── Unavailable           connection refused; 5xx on a read
│   │   └── OutcomeUnknown        sent, no answer: it may still take effect for up to D
│   └── TerminalError             the same call will fail again
│       ├── Unauthorized          a bad key or a missing right
│       ├── NotFound              no such collection or namespace
│       ├── DatabaseMissing       no such database or schema on the server: not that a collection is gone
│       ├── AlreadyExists         the collection is there already
│       ├── Refused               the database refused the request as invalid
│       ├── Unsupported           the store has no such ability
│       └── PartialWrite          fewer rows acknowledged than sent
├── StagingError                  Parquet parts and manifests
│   ├── StagingRefused            no key, no right, or no such bucket
│   ├── StagingFull               no space left
│   └── StagingCorrupt            a part does not match its manifest
├── JournalError                  the control database
│   ├── JournalUnavailable        cannot be reached
│   ├── JournalRefused            it does not let us in, or is not there: trying again does not help
│   ├── PlanMismatch              a plan of another spec, or a changed one
│   ├── PhaseConflict             somebody else moved the phase (compare-and-set lost)
│   │   └── NotSettled            the follower lacks something, or a write may still land: the authority stays
│   └── LeaseLost                 this worker no longer owns what it works on
├── RouterError                   what became of an application's call (router/)
│   ├── NotDone                   nothing was written; `retryable` says whether the same call may be tried again
│   └── Unknown                   it may have been written, or may still be: read before you write again
├── ApiProblem                    a request that a gateway answers with an error (gateway/)
├── ServerError, AirflowError     the local servers of demo and tests (local/)
├── WeaviateMissing               no Weaviate, and no way to build one (local/)
└── GateError                     a rule of the migration says no; nothing was changed
    ├── PreflightFailed           the list of what stands in the way
    ├── CheckFailed               a verdict is failed, missing or empty
    ├── NoRoom                    a database is too full to write to, and nobody made room in time
    ├── NotApproved               no valid approval in the journal
    │   └── EvidenceLapsed        it can be approved no more
    └── SourceChanged             the source moved since the export and there are no routers
"""

from collections.abc import Sequence
from dataclasses import dataclass


class VectorferryError(Exception):
    """Base of all errors raised on purpose; the message names the place and the way out."""

    @property
    def told(self) -> str:
        """The message, and what was noted on the error's way up: all that a person should read."""
        return "\n".join((str(self), *getattr(self, "__notes__", ())))


@dataclass(frozen=True)
class SpecProblem:
    """One thing wrong in a spec file: `line` counts from 1; `hint` says what to do, or is empty."""

    file: str
    line: int
    key: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.file}:{self.line}: {self.key}: {self.what}" if self.key else f"{self.file}:{self.line}: {self.what}"
        )
        return f"{text} ({self.hint})" if self.hint else text


class SpecError(VectorferryError):
    """The spec file is not valid; `problems` lists everything found, in file order."""

    def __init__(self, problems: Sequence[SpecProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConnectionMissing(VectorferryError):
    """A named connection does not exist or cannot be parsed, or no installed package has a store that opens its type."""


class MetricsMissing(VectorferryError):
    """The packages that export metrics are not installed."""


class RecordError(VectorferryError):
    """A record that cannot be represented canonically; the message names the id and the field."""


class FilterError(VectorferryError):
    """A filter that is not valid in the filter language, or that a store does not support; names the operator."""


class StoreError(VectorferryError):
    """What a database said, always retryable or terminal; `store` names the collection, as in 'weaviate Docs'."""

    def __init__(self, message: str, *, store: str = "") -> None:
        self.store = store
        super().__init__(f"{store}: {message}" if store else message)


class RetryableError(StoreError):
    """May be tried again."""


class RateLimited(RetryableError):
    """The vendor asks for less; `retry_after` is in seconds, None where it did not say."""

    def __init__(self, message: str, *, store: str = "", retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message, store=store)


class Unavailable(RetryableError):
    """The database could not serve the request; nothing was written by it."""


class OutcomeUnknown(RetryableError):
    """Sent, and no answer came: it may have taken effect, and may still do so for up to the request deadline D."""


class TerminalError(StoreError):
    """The same call will fail again."""


class Unauthorized(TerminalError):
    """The key is wrong or lacks a right."""


class NotFound(TerminalError):
    """No such collection or namespace."""


class DatabaseMissing(TerminalError):
    """The server has no such database or schema. Whether the collection is anywhere is not known."""


class AlreadyExists(TerminalError):
    """The collection is there already."""


class Refused(TerminalError):
    """The database refused the request as invalid."""


class Unsupported(TerminalError):
    """The store has no such ability; `capabilities` says so as data."""


class PartialWrite(TerminalError):
    """Fewer rows were acknowledged than sent, and the database did not say which or why."""


class StagingError(VectorferryError):
    """Parquet parts and manifests."""


class StagingRefused(StagingError):
    """Where staging lies nobody lets us in, or there is no such place; trying again does not help."""


class StagingFull(StagingError):
    """No space left where staging lies; nothing half-written was kept."""


class StagingCorrupt(StagingError):
    """A part does not match its manifest."""


class JournalError(VectorferryError):
    """The control database."""


class JournalUnavailable(JournalError):
    """The journal cannot be reached; nothing was sent that it has not recorded."""


class JournalRefused(JournalError):
    """The journal's connection leads nowhere or lets nobody in: a wrong login, a missing right, no such database."""


class PlanMismatch(JournalError):
    """The plan in the journal belongs to another spec, or the spec changed since."""


class PhaseConflict(JournalError):
    """The control row is not as expected: somebody else moved it (compare-and-set lost)."""


class NotSettled(PhaseConflict):
    """The follower may lack something: the authority stays where it is."""


class LeaseLost(JournalError):
    """This worker's lease has lapsed or was taken over; it must not go on."""


class RouterError(VectorferryError):
    """What became of an application's call that a router could not carry out."""


class NotDone(RouterError):
    """Nothing was written. `retryable`: the same call may be tried again, now or once what the message names is over."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        self.retryable = retryable
        super().__init__(message)


class Unknown(RouterError):
    """It may have been written, or may still take effect within `within` seconds. A blind retry may undo a newer write: read first."""

    def __init__(self, message: str, *, within: float) -> None:
        self.within = within
        super().__init__(message)


class GateError(VectorferryError):
    """A rule of the migration says no; nothing was changed."""


class PreflightFailed(GateError):
    """What stands in the way of a start; `problems` lists all of it."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("preflight refuses:\n" + "\n".join(f"- {problem}" for problem in self.problems))


class CheckFailed(GateError):
    """A verdict is failed, missing or empty."""


class RoomAwaited(VectorferryError):
    """A database is too full to write to now, and whoever asked comes back later in place of waiting: nothing is in flight any more."""


class NoRoom(GateError):
    """A database is too full to write to, or read-only, and stayed so for as long as the spec waits."""


class NotApproved(GateError):
    """The journal holds no valid approval for this evidence."""


class EvidenceLapsed(NotApproved):
    """This evidence can be approved no more, whoever answers: it is too old, superseded, or was made void since."""


class SourceChanged(GateError):
    """The source changed since the export, and no router tracked it."""
