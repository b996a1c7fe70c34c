"""The vendor's SDK without a wire: its `Index` with an index of ours in the place of the network.

So applications keep the vendor's own classes, checks, batching, pages and answers. What an application's call came to is raised as one
of the vendor's errors and one of ours at once: `except ServiceError` works as ever, and `except NotDone` and `except Unknown` tell which.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import httpx
from pinecone import AsyncIndex, Index
from pinecone.errors.exceptions import ApiError, ServiceError

from vectorferry.core.errors import NotDone, RouterError, Unknown, VectorferryError
from vectorferry.gateway.faults import NO_EFFECTS
from vectorferry.gateway.messages import Request, Response
from vectorferry.gateway.pinecone.api.data import IndexData
from vectorferry.gateway.pinecone.api.problems import problem_of
from vectorferry.gateway.pinecone.wire.rest_data import route
from vectorferry.gateway.pinecone.wire.wire_json import data_problem

# It is never resolved: requests end in this process. The SDK wants a name of this form, and a key.
_HOST = "http://vectorferry.localhost"
_KEY = "in-process"
_CAUSE = "vectorferry.cause"
_WRITES = frozenset({"/vectors/upsert", "/vectors/update", "/vectors/delete"})
InThread = Callable[[Callable[[], httpx.Response]], Awaitable[httpx.Response]]
"""Runs a call that blocks in a thread."""


class TryAgain(NotDone, ServiceError):
    """Nothing was written, and the same call may be tried again: 503, which the SDK has tried some times already."""

    def __init__(self, error: NotDone, status: int) -> None:
        ServiceError.__init__(self, str(error), status)
        self.retryable = error.retryable


class NotAccepted(NotDone, ApiError):
    """Nothing was written, and the same call will be refused again: 400."""

    def __init__(self, error: NotDone, status: int) -> None:
        ApiError.__init__(self, str(error), status)
        self.retryable = error.retryable


class OutcomeNotKnown(Unknown, ServiceError):
    """It may have been written, or may be within `within` seconds: read before you write again."""

    def __init__(self, error: Unknown, status: int) -> None:
        ServiceError.__init__(self, str(error), status)
        self.within = error.within


class InProcessIndex(Index):
    """The vendor's `Index` over an index of ours."""

    def __init__(self, data: IndexData) -> None:
        super().__init__(host=_HOST, api_key=_KEY)
        http: Any = self._http
        _put_in_place(http._client, _Transport(data), _Explaining)  # noqa: SLF001

    @property
    def config(self) -> Any:
        """Host and key, as the SDK had them up to version 8; LangChain's vector store reads them."""
        return self._config


class InProcessAsyncIndex(AsyncIndex):
    """The vendor's `AsyncIndex` over an index of ours; calls run where `reading` and `writing` run them."""

    def __init__(self, data: IndexData, reading: InThread, writing: InThread) -> None:
        super().__init__(host=_HOST, api_key=_KEY)
        of_ours = _AsyncTransport(_Transport(data), reading, writing)
        http: Any = self._http
        make = http._ensure_client  # noqa: SLF001

        def ensure_client() -> httpx.AsyncClient:
            # The SDK makes it at the first call. LangChain closes the index after every call: here that ends nothing.
            if http._client is None or http._client.is_closed:  # noqa: SLF001
                http._client = None  # noqa: SLF001
                _put_in_place(make(), of_ours, _AsyncExplaining)
            client: httpx.AsyncClient = http._client  # noqa: SLF001
            return client

        http._ensure_client = ensure_client  # noqa: SLF001

    @property
    def config(self) -> Any:
        """Host and key, as the SDK had them up to version 8; LangChain's vector store reads them."""
        return self._config


class _Transport(httpx.BaseTransport):
    """Answers requests from an index."""

    def __init__(self, data: IndexData) -> None:
        self._data = data

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = Request(request.method, request.url.raw_path, {}, request.content)
        try:
            _, serve = route(asked.method, asked.path)
            return _answer(serve(self._data, asked, NO_EFFECTS))
        except VectorferryError as error:
            problem = problem_of(error)
            answer = _answer(Response(problem.status, data_problem(problem), problem.headers))
            answer.extensions[_CAUSE] = error
            return answer

    def close(self) -> None:
        self._data.close()


class _Explaining(httpx.BaseTransport):
    """Raises what became of an application's call, once the SDK has tried it often enough."""

    def __init__(self, retrying: httpx.BaseTransport) -> None:
        self._retrying = retrying

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _explained(self._retrying.handle_request(request))

    def close(self) -> None:
        self._retrying.close()


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, blocking: _Transport, reading: InThread, writing: InThread) -> None:
        self._blocking = blocking
        self._reading = reading
        self._writing = writing

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        in_thread = self._writing if request.method == "DELETE" or request.url.path in _WRITES else self._reading
        return await in_thread(lambda: self._blocking.handle_request(request))


class _AsyncExplaining(httpx.AsyncBaseTransport):
    def __init__(self, retrying: httpx.AsyncBaseTransport) -> None:
        self._retrying = retrying

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return _explained(await self._retrying.handle_async_request(request))

    async def aclose(self) -> None:
        await self._retrying.aclose()


def _put_in_place(client: Any, of_ours: Any, explaining: Callable[[Any], Any]) -> None:
    """Put our transport below the SDK's retries, and what explains errors above: there is no public way to give it one."""
    retrying = client._transport  # noqa: SLF001
    retrying._transport = of_ours  # noqa: SLF001
    client._transport = explaining(retrying)  # noqa: SLF001


def _answer(response: Response) -> httpx.Response:
    headers = {"content-type": response.content_type, **response.headers}
    return httpx.Response(response.status, headers=headers, content=response.body)


def _explained(response: httpx.Response) -> httpx.Response:
    cause = response.extensions.get(_CAUSE)
    if isinstance(cause, RouterError):
        _raise(cause, response.status_code)
    return response


def _raise(error: RouterError, status: int) -> NoReturn:
    if isinstance(error, Unknown):
        raise OutcomeNotKnown(error, status) from error
    assert isinstance(error, NotDone)
    kind = TryAgain if error.retryable else NotAccepted
    raise kind(error, status) from error
