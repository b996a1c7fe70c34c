"""Problems: the gateway's refusals, each an HTTP status and a gRPC code at once."""

from collections.abc import Mapping

from vectorferry.core.errors import (
    AlreadyExists,
    FilterError,
    JournalUnavailable,
    NotDone,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RecordError,
    Refused,
    RetryableError,
    Unknown,
    Unsupported,
    VectorferryError,
)
from vectorferry.gateway.faults import Refusal

# gRPC code and its name by HTTP status, as google.rpc.Code has them.
UNKNOWN = 520
"""Nobody knows whether it was done: a 5xx that the vendor's SDKs do not try again by themselves (docs/gateway.md says which do)."""
OUTCOME = "x-vectorferry-outcome"
RETRY_SECONDS = 1
CODES: Mapping[int, tuple[int, str]] = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    405: (12, "UNIMPLEMENTED"),
    409: (6, "ALREADY_EXISTS"),
    412: (9, "FAILED_PRECONDITION"),
    413: (11, "OUT_OF_RANGE"),
    414: (11, "OUT_OF_RANGE"),
    429: (8, "RESOURCE_EXHAUSTED"),
    500: (13, "INTERNAL"),
    501: (12, "UNIMPLEMENTED"),
    502: (14, "UNAVAILABLE"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
    UNKNOWN: (2, "UNKNOWN"),
}


class ApiProblem(VectorferryError):
    """An answer that is not a success: `status` is the HTTP one, `headers` go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    @property
    def code(self) -> int:
        """The gRPC code as a number."""
        return CODES.get(self.status, (2, "UNKNOWN"))[0]

    @property
    def code_name(self) -> str:
        """The gRPC code as a word."""
        return CODES.get(self.status, (2, "UNKNOWN"))[1]


class Dropped(Exception):
    """An injected fault: the connection ends without an answer."""


def refused(refusal: Refusal) -> ApiProblem:
    """A refusal that was asked for by a fault."""
    headers = {} if refusal.retry_after is None else {"Retry-After": f"{refusal.retry_after:g}"}
    return ApiProblem(refusal.status, refusal.message, headers)


def invalid(message: str) -> ApiProblem:
    """A request that is wrong in itself."""
    return ApiProblem(400, message)


def missing(what: str) -> ApiProblem:
    """Something that is not there."""
    return ApiProblem(404, f"{what} not found")


def unsupported(what: str) -> ApiProblem:
    """Something that the vendor has and this gateway does not."""
    return ApiProblem(501, f"{what} is not supported by this gateway")


def problem_of(error: VectorferryError) -> ApiProblem:
    """What a client is told when the gateway, or the store behind it, raises."""
    if isinstance(error, ApiProblem):
        return error
    if isinstance(error, RateLimited):
        return ApiProblem(429, str(error), {"Retry-After": f"{error.retry_after:g}"} if error.retry_after else None)
    if isinstance(error, Unknown):
        within = {"x-vectorferry-within": f"{error.within:g}"}
        return ApiProblem(UNKNOWN, f"{error} (for at most {error.within:g} s)", {OUTCOME: "unknown", **within})
    if isinstance(error, (NotDone, JournalUnavailable)):
        return _not_done(error, retryable=not isinstance(error, NotDone) or error.retryable)
    return ApiProblem(next((status for kind, status in _STATUSES if isinstance(error, kind)), 500), str(error))


def _not_done(error: VectorferryError, *, retryable: bool) -> ApiProblem:
    headers = {OUTCOME: "not-done"}
    if not retryable:
        return ApiProblem(400, str(error), headers)
    return ApiProblem(503, str(error), {**headers, "Retry-After": str(RETRY_SECONDS)})


_STATUSES: tuple[tuple[type[VectorferryError], int], ...] = (
    (NotFound, 404),
    (AlreadyExists, 409),
    (Refused, 400),
    (Unsupported, 400),
    (RecordError, 400),
    (FilterError, 400),
    (OutcomeUnknown, UNKNOWN),
    (RetryableError, 503),
)
