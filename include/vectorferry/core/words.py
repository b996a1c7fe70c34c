"""Words of text, as keyword search tells them apart: the reference that stores and the check `keyword` are held against."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from vectorferry.core.model import FieldOptions, FieldType

_WORD = re.compile(r"[^\W_]+")
_SPLIT: Mapping[str, Callable[[str], list[str]]] = {
    "": lambda text: _WORD.findall(text.lower()),
    "word": lambda text: _WORD.findall(text.lower()),
    "lowercase": lambda text: text.lower().split(),
    "whitespace": lambda text: text.split(),
    "field": lambda text: [text.strip()] if text.strip() else [],
}


def searchable_fields(fields: Mapping[str, FieldType], options: Mapping[str, FieldOptions]) -> dict[str, str]:
    """The fields that keyword search looks into, each with its tokenization: text, unless its options say otherwise, and what they name."""
    found = {}
    for name, kind in fields.items():
        given, text = options.get(name, FieldOptions()), kind.item is FieldType.TEXT
        if text if given.searchable is None else given.searchable:
            found[name] = given.tokenization or ("word" if text else "field")
    return found


def words_of(value: Any, kind: FieldType, tokenization: str = "") -> frozenset[str]:
    """The words of a field's value; none where it is not of the field's type, or where nobody but the database knows how it splits text."""
    split = _SPLIT.get(tokenization)
    texts = value if kind.is_list and isinstance(value, list) else [] if kind.is_list else [value]
    if split is None or not all(isinstance(text, str) for text in texts):
        return frozenset()
    return frozenset(word for text in texts for word in split(text))


def is_known(tokenization: str) -> bool:
    """Whether `words_of` splits text as the database does that has this tokenization."""
    return tokenization in _SPLIT
