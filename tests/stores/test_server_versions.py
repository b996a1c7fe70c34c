"""Versions of servers are read however they are written, and an old one is told with what is needed."""

import pytest

from vectorferry.stores.server_versions import too_old, version_of


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.8.1", (0, 8, 1)),
        ("v1.39.0-rc.0", (1, 39, 0)),
        ("16.4 (Debian 16.4-1)", (16, 4)),
        ("1.20.0-dev2", (1, 20, 0)),
        ("3", (3,)),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_the_numbers_of_a_version_are_read(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


def test_an_old_server_is_told_with_the_way_out() -> None:
    assert list(too_old("the server is Thing", (1, 9, 3), (1, 10))) == [
        "the server is Thing 1.9.3; 1.10 or later is needed"
    ]
    assert list(too_old("it is", (1,), (1, 10), "update it")) == ["it is 1; 1.10 or later is needed: update it"]


@pytest.mark.parametrize("version", [(1, 10), (1, 10, 0), (2,), ()])
def test_a_server_that_is_new_enough_or_does_not_tell_is_taken(version: tuple[int, ...]) -> None:
    assert not list(too_old("the server is Thing", version, (1, 10)))
