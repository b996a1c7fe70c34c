"""Keys of records: the order in which they are compared, and one length-delimited text for hashing."""

import xxhash

from vectorferry.core.model import KeyOrder
from vectorferry.core.names import record_uuid


def key_of(order: KeyOrder, namespace: str, id_: str) -> str:
    """The key by which a record is ordered; Python compares text by code point, which is UTF-8's bitwise order."""
    return id_ if order is KeyOrder.ID else str(record_uuid(namespace, id_))


def framed(namespace: str, id_: str) -> bytes:
    """A record's key as bytes, length-delimited, so that ('ab', 'c') and ('a', 'bc') differ."""
    name = namespace.encode()
    return b"%d:%b%b" % (len(name), name, id_.encode())


def order_hash(namespace: str, id_: str) -> int:
    """A number in [0, 2^64) by which samples are drawn: the same rows on every machine and in every run."""
    return int(xxhash.xxh3_64_intdigest(framed(namespace, id_)))
