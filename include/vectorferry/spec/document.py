"""YAML document of a spec file: plain values only, each with its line, and a SpecError for everything else.

Aliases, tags, dates, numbers that are none and keys that are no text are refused: what a spec says must be what stands there.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from vectorferry.core.errors import SpecError, SpecProblem

Place = tuple[str | int, ...]
"""The keys, and numbers of list items, that lead to a value."""

MOST_BYTES = 1_000_000
_MOST_LEVELS = 20
_MOST_INTEGER = 2**63  # JSON's, in which the journal keeps specs
_TAG = "tag:yaml.org,2002:"
_MERGE, _DATE = f"{_TAG}merge", f"{_TAG}timestamp"
_TEXT = (f"{_TAG}str", f"{_TAG}value", _MERGE)  # a lone = and a lone << are text where they are values
_PLAIN = {*_TEXT, *(f"{_TAG}{name}" for name in ("int", "float", "bool", "null", "map", "seq"))}


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: `lines` has the line of every key and list item, from 1."""

    file: str
    value: Mapping[str, Any]
    lines: Mapping[Place, int]


class _Refused(Exception):
    """What YAML allows and a spec may not hold, at a node."""

    def __init__(self, place: Place, line: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.problem = place, line, what, hint


def read_text(path: str | Path) -> str:
    """The text of a spec file; raises SpecError where it cannot be read, is too large or is not UTF-8."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SpecError([SpecProblem(str(path), 1, "", f"cannot be read: {error}")]) from error
    if len(raw) > MOST_BYTES:
        what = f"is larger than {MOST_BYTES:,} bytes: this is no spec"
        raise SpecError(
            [SpecProblem(str(path), 1, "", what, "a spec names one collection; data belongs in files of its own")]
        )
    try:
        return raw.decode("utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SpecError([SpecProblem(str(path), line, "", "is not UTF-8", "save the file as UTF-8")]) from None


def read_document(text: str, file: str) -> Document:
    """The document in a YAML text; `file` is only for messages. Raises SpecError."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        _refuse_hidden_breaks(text)
        value, lines = _read(text)
    except _Refused as refused:
        place, line, what, hint = refused.problem
        problem = SpecProblem(file, line, ".".join(map(str, place)), what, hint)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"holds the character {error.character!r}, which YAML does not allow"
        problem = SpecProblem(file, line, "", what, "take it out")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = _line(mark, text) if mark else 1
        problem = SpecProblem(file, line, "", *_said(error))
    else:
        return Document(file, value, lines)
    raise SpecError([problem])


def _refuse_hidden_breaks(text: str) -> None:
    """YAML begins a new line at them and editors do not: every line number below would be wrong."""
    for found in re.finditer("[\x85\u2028\u2029]", text):
        line = text.count("\n", 0, found.start()) + 1
        raise _Refused(
            (), line, f"holds the line break U+{ord(found[0]):04X}, which editors do not show", "take it out"
        )


def _said(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    if error.problem == "but found another document":
        return "begins another document", "write one file for each migration"
    said = f"is not valid YAML: {error.problem}"
    return said, "indent with spaces" if "\\t" in said else ""


def _line(mark: Any, text: str) -> int:
    # Where the text ends too early, the mark stands behind its last line.
    return min(int(mark.line), text.rstrip("\n").count("\n")) + 1


def _read(text: str) -> tuple[Mapping[str, Any], Mapping[Place, int]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise _Refused((), 1, "is empty", "start with `migration: NAME`")
        if not isinstance(node, yaml.MappingNode):
            raise _Refused(
                (), node.start_mark.line + 1, "is not a mapping of keys to values", "start with `migration: NAME`"
            )
        lines = dict(_lines(node, ()))
        return loader.value_of(node, ()), lines
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Refuses while it composes: before anything is made of a node, and before nesting or aliases can cost anything."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._place: list[str | int] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if parent is None:
            return self._composed(parent, index)
        key = index.value if isinstance(index, yaml.ScalarNode) else index
        self._place.append(key if isinstance(key, (str, int)) else "?")
        try:
            return self._composed(parent, index)
        finally:
            self._place.pop()

    def _composed(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise self._refused(event, f"is the alias *{event.anchor}", "write the value out: a spec takes no aliases")
        if len(self._place) > _MOST_LEVELS:
            raise self._refused(event, f"is nested more than {_MOST_LEVELS} levels deep")
        node = super().compose_node(parent, index)
        assert node is not None
        if node.tag == _DATE:
            raise self._refused(event, f"is a date to YAML: {_cut(node.value)}", "put it in quotes")
        if node.tag not in _PLAIN:
            raise self._refused(event, f"has the tag {_cut(node.tag)}", "take it out: a spec takes no tags")
        return node

    def _refused(self, event: yaml.Event, what: str, hint: str = "") -> _Refused:
        mark: Any = event.start_mark
        return _Refused(tuple(self._place), mark.line + 1, what, hint)

    def value_of(self, node: yaml.Node, at: Place) -> Any:
        """The plain value of a node; raises _Refused."""
        if isinstance(node, yaml.MappingNode):
            return {key.value: self.value_of(value, (*at, key.value)) for key, value in _pairs(node, at)}
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(item, (*at, number)) for number, item in enumerate(node.value)]
        return self._scalar(node, at)

    def _scalar(self, node: yaml.Node, at: Place) -> Any:
        line = node.start_mark.line + 1
        if node.tag in _TEXT:
            return _sound(node.value, at, line)
        try:
            value = self.construct_object(node)
        except (ValueError, yaml.YAMLError, ArithmeticError, KeyError, IndexError):
            raise _Refused(at, line, f"is no {node.tag.removeprefix(_TAG)}: {_cut(node.value)}") from None
        number = isinstance(value, (int, float))
        if number and not (math.isfinite(value) and -_MOST_INTEGER <= value < _MOST_INTEGER):
            raise _Refused(at, line, f"is no number that a spec can hold: {_cut(node.value)}")
        return value


def _sound(text: str, at: Place, line: int) -> str:
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise _Refused(at, line, "holds a NUL or half of a character, which no database takes", "take it out")
    return text


def _pairs(node: yaml.MappingNode, at: Place) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    for key, value in node.value:
        if key.tag == _MERGE:
            raise _Refused(at, key.start_mark.line + 1, "is merged with <<", "write the keys out")
        if not isinstance(key, yaml.ScalarNode) or key.tag not in _TEXT:
            what = (
                f"has the key {_cut(key.value)}, which is no text"
                if isinstance(key.value, str)
                else "has a key that is no text"
            )
            raise _Refused(at, key.start_mark.line + 1, what, "put it in quotes")
        _sound(key.value, at, key.start_mark.line + 1)
        yield key, value


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:40]}…"


def _lines(node: yaml.Node, at: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in _pairs(node, at):
            line = key.start_mark.line + 1
            if key.value in seen:
                raise _Refused((*at, key.value), line, "is given twice")
            seen.add(key.value)
            yield (*at, key.value), line
            yield from _lines(value, (*at, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield (*at, number), item.start_mark.line + 1
            yield from _lines(item, (*at, number))
