"""Parallel requests: sends several at a time, fewer when the database asks for less."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class AdaptiveWindow:
    """How many may be in flight: one more after a whole window without a complaint, half after one (AIMD)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._clean = 0
        self.size = most

    def learn(self, complaints: int) -> None:
        """Adjust after one answer; `complaints` is how often the database asked for less since the last one."""
        if complaints:
            self.size, self._clean = max(1, self.size // 2), 0
            return
        self._clean += 1
        if self._clean >= self.size:
            self.size, self._clean = min(self._most, self.size + 1), 0


def send_all(
    items: Iterable[T],
    send: Callable[[T], R],
    on_result: Callable[[R], None],
    window: AdaptiveWindow,
    complaints: Callable[[], int],
) -> None:
    """Send items in parallel; `on_result` gets each result on this thread, in the order in which they come.

    The first error stops new sends, waits for what is in flight (landing what succeeds), and is raised.
    """
    known = complaints()
    failed: BaseException | None = None
    with ThreadPoolExecutor(max_workers=window.size, thread_name_prefix="flight") as pool:
        running: set[Future[R]] = set()
        waiting = iter(items)
        while True:
            while failed is None and len(running) < window.size and (item := next(waiting, None)) is not None:
                running.add(pool.submit(send, item))
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if error is None:
                    on_result(future.result())
                failed = failed or error
            seen = complaints()
            window.learn(seen - known)
            known = seen
    if failed is not None:
        raise failed
