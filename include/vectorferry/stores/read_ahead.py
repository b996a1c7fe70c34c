"""Reading ahead: the next page of a reading is asked for while one is worked on; never more than one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(pages: Iterator[T], name: str) -> Iterator[T]:
    """The same pages, none of which is None, asked for in a thread called `name`."""
    pool = ThreadPoolExecutor(1, thread_name_prefix=name)
    try:
        coming = pool.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = pool.submit(next, pages, None)
            yield page
    finally:
        # A reader that stops early does not wait for an answer that nobody wants.
        pool.shutdown(wait=False, cancel_futures=True)
