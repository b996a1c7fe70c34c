"""Bundle file: a ZIP archive of which every byte is determined by the files in it, so that any other byte is found."""

import hashlib
import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import orjson

MANIFEST = "manifest.json"
FORMAT = 1
MOST_BYTES = 2 * 2**30
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (
    *(BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, EOFError, KeyError, IndexError),
    *(OverflowError, struct.error, zlib.error),
)


def canonical(value: Any) -> bytes:
    """JSON whose bytes are determined by its value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def packed(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files and a manifest of their digests: not compressed, sorted, without times."""
    return _archive({**files, MANIFEST: _manifest(files)})


def _manifest(files: Mapping[str, bytes]) -> bytes:
    listed = {name: _facts(raw) for name, raw in files.items()}
    return orjson.dumps({"format": FORMAT, "files": listed}, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2)


def _facts(raw: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name in sorted(files):
            entry = ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def unpacked(path: Path, known: frozenset[str]) -> tuple[dict[str, bytes], list[str]]:
    """The files of a bundle and what is wrong with it as a file, one line each; nothing of a broken one is to be believed.

    Only `known` names are read. Nothing is written, and nothing is ever unpacked to more bytes than the file itself has.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            return {}, [f"{path.name} has {size:,} bytes, more than any bundle: it was not read"]
        raw = path.read_bytes()
    except OSError as error:
        return {}, [f"{path} cannot be read: {error.strerror or error}"]
    try:
        files, wrong = _read(raw, known)
    except _UNREADABLE as error:
        return {}, [f"it is no bundle: {error}"]
    if not wrong:
        wrong = _digests(files)
    if not wrong and (rebuilt := _archive(files)) != raw:
        first = next(
            (at for at, pair in enumerate(zip(rebuilt, raw, strict=False)) if pair[0] != pair[1]), len(rebuilt)
        )
        wrong = [f"the archive is not as it was written: byte {first:,} lies in none of its files and is another one"]
    return files, wrong


def _read(raw: bytes, known: frozenset[str]) -> tuple[dict[str, bytes], list[str]]:
    with ZipFile(io.BytesIO(raw)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        wrong = [f"{name!r} is twice in it" for name in sorted({n for n in names if names.count(n) > 1})]
        wrong += [f"{name!r} belongs to no bundle" for name in names if name not in known | {MANIFEST}]
        wrong += [
            f"{entry.filename!r} is compressed or encrypted, which no bundle is"
            for entry in entries
            if entry.compress_type != ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size
        ]
        if wrong or len(entries) > len(known) + 1:
            return {}, wrong or ["it has more files than a bundle"]
        return {name: archive.read(name) for name in names}, []


def _digests(files: Mapping[str, bytes]) -> list[str]:
    """How the files differ from what the manifest says of them."""
    if MANIFEST not in files:
        return [f"{MANIFEST} is missing"]
    manifest = orjson.loads(files[MANIFEST])
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        return [f"{MANIFEST} is of another format than {FORMAT}"]
    listed, wrong = manifest["files"], list[str]()
    for name in sorted(listed.keys() | (files.keys() - {MANIFEST})):
        if name not in files:
            wrong.append(f"{name} is missing")
        elif name not in listed:
            wrong.append(f"{name} is not in {MANIFEST}")
        else:
            wrong += _digest(name, files[name], listed[name])
    written = {name: raw for name, raw in files.items() if name != MANIFEST}
    if not wrong and files[MANIFEST] != _manifest(written):
        wrong.append(f"{MANIFEST} is not as it was written")
    return wrong


def _digest(name: str, raw: bytes, told: object) -> list[str]:
    said = told if isinstance(told, dict) else {}
    found = _facts(raw)
    return [
        f"{name}: {what} {found[what]}, {MANIFEST} says {said.get(what)}"
        for what in found
        if found[what] != said.get(what)
    ]
