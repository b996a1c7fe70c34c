"""Objects of Weaviate's native layout, written by the vendor's client as somebody else would; nothing of the project is used."""

import json
from collections.abc import Mapping
from typing import Any

from weaviate.classes.config import DataType, Property, Tokenization

from oracle import native_names

OVERFLOW = "vf_overflow"
_PYTHON: Mapping[str, Any] = {"text": str, "number": (int, float), "boolean": bool}


class NativeLayout:
    """Turns records to properties and back, for one collection."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._look()

    def _look(self) -> None:
        self.keys, self.ours = native_names(self._collection)
        self.names = {key: name for name, key in self.keys.items()}
        self._types = {item.name: item.data_type.value for item in self._collection.config.get().properties}

    def metadata(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """The metadata of an object."""
        self._look()
        held = {name: value for name, value in properties.items() if value is not None}
        over = next((text for text in held.get(OVERFLOW, []) if text.startswith("{")), "{}")
        return {self.keys[name]: value for name, value in held.items() if name in self.keys} | json.loads(over)

    def properties(self, id_: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The properties of a record; a value that its property cannot hold is in the overflow, and so is a key without one."""
        self._look()
        fits = {key: value for key, value in metadata.items() if key in self.names and self._fits(key, value)}
        over = {key: value for key, value in metadata.items() if key not in fits}
        made = {self.names[key]: value for key, value in fits.items()} | {self.ours["id"]: id_}
        empty = [key for key, value in fits.items() if value in ("", [])]
        if over or empty:
            self._need_overflow()
            made[OVERFLOW] = [*([_json(over)] if over else []), *(f"{json.dumps(key)}:" for key in (*over, *empty))]
        return made

    def overflow(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The property that puts values into the overflow."""
        self._need_overflow()
        return {OVERFLOW: [_json(values), *(f"{json.dumps(key)}:" for key in values)]}

    def _need_overflow(self) -> None:
        if OVERFLOW not in self.ours:
            description = json.dumps({"vectorferry": OVERFLOW})
            made = Property(
                name=OVERFLOW,
                data_type=DataType.TEXT_ARRAY,
                tokenization=Tokenization.FIELD,
                description=description,
                index_searchable=False,
            )
            self._collection.config.add_property(made)
            self._look()

    def _fits(self, key: str, value: Any) -> bool:
        kind = self._types[self.names[key]]
        items, plain = (value, kind[:-2]) if kind.endswith("[]") else ([value], kind)
        if not isinstance(items, list):
            return False
        python = _PYTHON[plain]
        return all(isinstance(item, python) and (plain == "boolean" or not isinstance(item, bool)) for item in items)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
