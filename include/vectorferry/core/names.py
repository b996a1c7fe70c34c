"""Names of ids, namespaces and properties as they travel between stores: reversible, collision-free, the same for all stores."""

import hashlib
import re
import uuid
from collections.abc import Iterator

_NAMESPACE = uuid.UUID("6d1c9f5e-0b5a-5a8e-9d0d-2f4f2c1b7a10")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TENANT = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
# Weaviate lowers the first letter of a property's name, so that 'Key' and 'key' would be one property.
_PROPERTY = re.compile(r"[_a-z][_0-9A-Za-z]{0,230}\Z")
_RESERVED = frozenset({"id", "_id", "_additional", "vector"})
_SUFFIXES = ("_searchable", "_rangeable", "_temp", "__meta_count", "_propertyLength", "_nullState")
PREFIX = "vf_"
HASHED = "vfh_"


def record_uuid(namespace: str, id_: str) -> uuid.UUID:
    """The UUID of a record: uuid5 over a length-delimited (namespace, id), so that ('ab', 'c') and ('a', 'bc') differ."""
    return uuid.uuid5(_NAMESPACE, f"{len(namespace.encode())}:{namespace}{id_}")


def record_uuid_text(namespace: str, id_: str) -> str:
    """The same as text, many times faster: every row of every batch has its own."""
    name = f"{len(namespace.encode())}:{namespace}{id_}".encode()
    raw = bytearray(hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x50, raw[8] & 0x3F | 0x80  # version 5 and its variant, RFC 9562
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID in its usual form, in lowercase."""
    return _UUID.fullmatch(text) is not None


def _escape(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum()) else "".join(f"_{b:02X}" for b in c.encode()) for c in text)


def _unescape(text: str) -> str:
    return re.sub(rb"_([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), text.encode()).decode()


def encode_tenant(namespace: str) -> str:
    """A namespace as a name of [A-Za-z0-9_-]{1,64}: itself where it fits, else escaped, else (too long) hashed.

    Hashed names cannot be decoded from the name alone: records carry their namespace.
    """
    if _TENANT.match(namespace) and not namespace.startswith((PREFIX, HASHED)):
        return namespace
    escaped = PREFIX + _escape(namespace)
    return escaped if len(escaped) <= 64 else HASHED + hashlib.sha256(namespace.encode()).hexdigest()[:48]


def decode_tenant(tenant: str) -> str | None:
    """The namespace that `encode_tenant` turned into this name, None where only the records tell (a hashed name)."""
    if tenant.startswith(HASHED):
        return None
    return _unescape(tenant.removeprefix(PREFIX)) if tenant.startswith(PREFIX) else tenant


def encode_property(field: str) -> str:
    """A metadata key as a property name of [_a-z][_0-9A-Za-z]{0,230}, itself where it fits."""
    return next(property_names(field))


def property_names(field: str) -> Iterator[str]:
    """Names that a property for a metadata key can have, the best first: itself where it fits, escaped where that is short, hashed."""
    fits = _PROPERTY.match(field) and field not in _RESERVED and not field.endswith(_SUFFIXES)
    if fits and not field.startswith((PREFIX, HASHED)):
        yield field
    escaped = f"{PREFIX}f_{_escape(field)}"
    if len(escaped) <= 200 and not escaped.endswith(_SUFFIXES):
        yield escaped
    yield HASHED + hashlib.sha256(field.encode()).hexdigest()[:48]


def encode_scope(namespace: str) -> str:
    """A namespace as a text that no index trims and that is never empty: itself nearly always; `decode_tenant` has the way back."""
    plain = namespace and namespace == namespace.strip() and not namespace.startswith((PREFIX, HASHED))
    return namespace if plain else PREFIX + _escape(namespace)
