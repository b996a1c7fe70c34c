"""Errors of the Pinecone SDK as store errors, with the one question that matters: can the request still take effect?"""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from pinecone.errors.exceptions import (
    ApiError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    PineconeTypeError,
    PineconeValueError,
    ResponseParsingError,
)

from vectorferry.core.errors import (
    AlreadyExists,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RetryableError,
    StoreError,
    TerminalError,
    Unauthorized,
    Unavailable,
)

_TERMINAL: dict[int, type[TerminalError]] = {401: Unauthorized, 403: Unauthorized, 404: NotFound, 409: AlreadyExists}
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.LocalProtocolError)
_NOT_SENT_GRPC = ("tcp connect error", "dns error")


@contextmanager
def translating(store: str, *, write: bool) -> Iterator[None]:
    """Raise store errors in place of the SDK's.

    A write that got no answer, or a 5xx, is OutcomeUnknown: a proxy between us and the index gives up without the index doing so. It
    is Unavailable only where no byte of it was sent. Reads have no outcome; they are Unavailable.
    """
    try:
        yield
    except ApiError as error:
        raise _answered(error, store, write=write) from error
    except (PineconeValueError, PineconeTypeError) as error:
        raise Refused(str(error), store=store) from error
    except ResponseParsingError as error:
        if write:
            raise OutcomeUnknown(f"the answer is not understood: {error}", store=store) from error
        raise TerminalError(
            f"the answer is not understood: {error}; is it a Pinecone that answers?", store=store
        ) from error
    except PineconeError as error:
        raise _unanswered(error, store, write=write) from error
    except httpx.InvalidURL as error:
        raise Refused(f"the request does not fit into a URL: {error}", store=store) from error


def _answered(error: ApiError, store: str, *, write: bool) -> StoreError:
    status, text = error.status_code, f"{error.message or error} (HTTP {error.status_code})"
    if status == 429:
        return RateLimited(text, store=store, retry_after=getattr(error, "retry_after", None))
    if status == 408 or status >= 500:
        return OutcomeUnknown(text, store=store) if write else Unavailable(text, store=store)
    return _TERMINAL.get(status, Refused)(text, store=store)


def _unanswered(error: PineconeError, store: str, *, write: bool) -> RetryableError:
    kind = OutcomeUnknown if write and not _not_sent(error) else Unavailable
    return kind(f"no answer: {error}", store=store)


def _not_sent(error: PineconeError) -> bool:
    """Whether the connection was never made. gRPC tells by the message alone; what it says otherwise may have been sent."""
    if not isinstance(error, (PineconeConnectionError, PineconeTimeoutError)):
        return False
    return isinstance(error.__cause__, _NOT_SENT) or (error.__cause__ is None and str(error).startswith(_NOT_SENT_GRPC))
