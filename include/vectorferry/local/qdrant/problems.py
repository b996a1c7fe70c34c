"""What a request is refused with: the vendor's words, a gRPC code, and the HTTP status of the same."""

import grpc

_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
CODES = {status: code for code, status in _HTTP.items()} | {400: grpc.StatusCode.INVALID_ARGUMENT}


# What the engine raises for what is wrong with a request, too.
_ENGINES = (Exception, ValueError, TypeError, OverflowError)


class Problem(Exception):
    """A refusal; `retry_after` in seconds goes with RESOURCE_EXHAUSTED."""

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _HTTP.get(self.code, 500)


class Dropped(Exception):
    """The connection is to end without an answer."""


def bad_input(text: str) -> Problem:
    """What the request says is wrong."""
    return Problem(grpc.StatusCode.INVALID_ARGUMENT, f"Wrong input: {text}")


def not_found(text: str) -> Problem:
    """What the request names is not there."""
    return Problem(grpc.StatusCode.NOT_FOUND, f"Not found: {text}")


def no_collection(name: str) -> Problem:
    """There is no collection, and no alias, of this name."""
    return not_found(f"Collection `{name}` doesn't exist!")


def bad_format(text: str) -> Problem:
    """The body is not what the path takes."""
    return Problem(grpc.StatusCode.INVALID_ARGUMENT, f"Format error in JSON body: {text}")


def no_path(path: str) -> Problem:
    """The vendor's server may know the path, this one does not."""
    return Problem(grpc.StatusCode.NOT_FOUND, f"The local Qdrant does not have {path}")


def unsupported(what: str) -> Problem:
    """The vendor's server can, this one cannot."""
    return Problem(grpc.StatusCode.UNIMPLEMENTED, f"The local Qdrant does not have {what}")


def of_status(status: int, message: str, retry_after: int | None = None) -> Problem:
    """The problem that an HTTP status stands for."""
    return Problem(CODES.get(status, grpc.StatusCode.INTERNAL), message, retry_after)


def problem_of(error: Exception) -> Problem:
    """What an error of the engine means: it raises plain exceptions, told apart by their words alone."""
    if isinstance(error, Problem):
        return error
    text = str(error)
    if type(error) not in _ENGINES:
        return Problem(grpc.StatusCode.INTERNAL, f"Service internal error: {error!r}")
    if text.startswith("No point with id"):
        return not_found(text if text.endswith("found") else f"{text} found")
    if text.startswith("Service runtime error"):
        return Problem(
            grpc.StatusCode.INTERNAL, f"Service internal error: {text.removeprefix('Service runtime error: ')}"
        )
    return bad_input(text)
