"""A reader reads one page ahead, and not further; what goes wrong there is raised where the page was wanted."""

import threading
from collections.abc import Iterator

import pytest

from vectorferry.stores.read_ahead import ahead


def test_one_page_is_asked_for_while_one_is_worked_on() -> None:
    asked, second = list[int](), threading.Event()

    def pages() -> Iterator[int]:
        for page in range(5):
            asked.append(page)
            if page == 1:
                second.set()
            yield page

    found = ahead(pages(), "test")
    assert next(found) == 0
    assert second.wait(10)
    assert asked == [0, 1]
    assert list(found) == [1, 2, 3, 4]


def test_an_error_comes_after_the_pages_before_it() -> None:
    def pages() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    found = ahead(pages(), "test")
    assert next(found) == 1
    with pytest.raises(KeyError):
        next(found)
