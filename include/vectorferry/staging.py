"""Parquet parts, manifests and reports of a run, each committed atomically, on a local folder or any fsspec file system."""

import errno
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from vectorferry.core.errors import StagingCorrupt, StagingError, StagingFull, StagingRefused, VectorferryError

ROW_GROUP = 5_000
WRITE_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class StagedPart:
    """One committed Parquet file: path under the staging folder, rows, bytes."""

    path: str
    rows: int
    bytes: int


class Staging:
    """A folder of one plan. Paths are relative, with '/'. What is not committed whole is never seen under its name."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            with _explaining(url):
                self._fs, self._root = fsspec.core.url_to_fs(url, **(options or {}))
        except ValueError as error:
            raise StagingError(f"{url}: {error}; write a folder, or a URL as in s3://bucket/folder") from error
        self.url = url

    def at(self, folder: str) -> "Staging":
        """The same staging, one folder deeper."""
        deeper = object.__new__(Staging)
        deeper._fs, deeper._root, deeper.url = (
            self._fs,
            posixpath.join(self._root, folder),
            f"{self.url.rstrip('/')}/{folder}",
        )
        return deeper

    def locate(self, path: str) -> str:
        """The full URL or file name of a path, for people."""
        return f"{self.url.rstrip('/')}/{path}" if path else self.url

    def exists(self, path: str) -> bool:
        """Whether a file was committed under this path."""
        with _explaining(self.locate(path)):
            return bool(self._fs.exists(self._full(path)))

    def list(self, folder: str) -> Sequence[str]:
        """Committed files in a folder, sorted; none where the folder does not exist."""
        full = self._full(folder)
        with _explaining(self.locate(folder)):
            found = self._fs.ls(full, detail=False) if self._fs.exists(full) else []
        return sorted(posixpath.join(folder, posixpath.basename(f)) for f in found if not _uncommitted(f))

    def modified(self, path: str = "") -> datetime | None:
        """When a file, or anything in a folder, was last written; None where there is nothing."""
        with _explaining(self.locate(path)):
            moments = [self._fs.modified(file) for file in self._fs.find(self._full(path))]
        return max((at if at.tzinfo else at.replace(tzinfo=UTC) for at in moments), default=None)

    def remove(self, path: str = "") -> None:
        """Remove a file or folder with everything in it; not-found is success."""
        with _explaining(self.locate(path)):
            if self._fs.exists(self._full(path)):
                self._fs.rm(self._full(path), recursive=True)

    def try_out(self) -> None:
        """Write a small file, read it and remove it. Raises StagingRefused where that is not allowed, or there is no such place."""
        path, content = f"{uuid4().hex}.json", {"probe": True}
        made = self._missing_folders()
        self.write_json(path, content)
        with _explaining(self.locate(path)):
            if self.read_json(path) != content:
                raise StagingError(f"{self.locate(path)} does not hold what was written to it")
        self.remove(path)
        with suppress(OSError):  # not empty: somebody else began to write meanwhile
            for folder in made:
                folder.rmdir()

    def _missing_folders(self) -> Sequence[Path]:
        """Folders down to this one that are not there yet, the deepest first; object stores have none."""
        if not isinstance(self._fs, LocalFileSystem):
            return []
        root = Path(self._root)
        return [folder for folder in (root, *root.parents) if not folder.exists()]

    def write_json(self, path: str, value: Any) -> None:
        """Commit a JSON document."""
        self.write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))

    def write_bytes(self, path: str, content: bytes) -> None:
        """Commit a file."""
        with self._committing(path) as file:
            file.write(content)

    def read_json(self, path: str) -> Any:
        """A committed JSON document; raises StagingCorrupt where it is missing or no JSON."""
        try:
            return orjson.loads(self._fs.cat_file(self._full(path)))
        except (FileNotFoundError, orjson.JSONDecodeError) as error:
            raise StagingCorrupt(
                f"{self.locate(path)} is missing or damaged; clear the export of this partition"
            ) from error

    def write_table(self, path: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> StagedPart:
        """Commit a Parquet file of these batches; vectors are stored plain (byte-stream-split), everything in zstd."""
        rows = 0
        encoding = _encoding(schema)
        with (
            self._committing(path) as file,
            _buffered(file) as stream,
            pq.ParquetWriter(stream, schema, **encoding) as writer,
        ):
            for batch in batches:
                writer.write_batch(batch, row_group_size=ROW_GROUP)
                rows += len(batch)
        return StagedPart(path, rows, int(self._fs.size(self._full(path))))

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A committed Parquet file, whole; raises StagingCorrupt."""
        with self._reading(path) as file:
            return pq.read_table(file, columns=columns)

    def read_batches(self, path: str, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of a committed Parquet file, in order; raises StagingCorrupt."""
        with self._reading(path) as file:
            yield from pq.ParquetFile(file).iter_batches(rows, columns=columns)

    def read_bucket(self, path: str, column: str, value: int, columns: Sequence[str]) -> pa.Table:
        """Rows of a committed Parquet file whose number in `column` is `value`; row groups without any are not read."""
        with self._reading(path) as file:
            return pq.read_table(file, columns=list(columns), filters=[(column, "=", value)])

    @contextmanager
    def _reading(self, path: str) -> Iterator[Any]:
        try:
            with self._fs.open(self._full(path), "rb") as file:
                yield file
        except FileNotFoundError as error:
            raise StagingCorrupt(f"{self.locate(path)} is missing") from error
        except pa.ArrowInvalid as error:
            raise StagingCorrupt(f"{self.locate(path)} is damaged: {error}") from error

    @contextmanager
    def _committing(self, path: str) -> Iterator[Any]:
        # Object stores show a file once it is closed whole; a local file system needs a rename for that.
        full = self._full(path)
        local = isinstance(self._fs, LocalFileSystem)
        written = f"{full}.{os.getpid()}.tmp" if local else full
        with _explaining(self.locate(path)):
            self._fs.makedirs(posixpath.dirname(full), exist_ok=True)
            try:
                with self._fs.open(written, "wb") as file:
                    yield file
                    if local:
                        file.flush()
                        os.fsync(file.fileno())
            except BaseException:
                if local and self._fs.exists(written):
                    self._fs.rm_file(written)
                raise
            if local:
                os.replace(written, full)  # noqa: PTH105

    def _full(self, path: str) -> str:
        return posixpath.join(self._root, path) if path else self._root


def report_folder(run_id: str) -> str:
    """A run's folder of reports under the plan's folder; run ids hold characters that folders should not."""
    return "reports/" + "".join(c if c.isalnum() or c in "-_" else "_" for c in run_id)


def read_anywhere(place: str) -> bytes:
    """Content of a file that belongs to no staging, at a path or URL. Raises what fsspec raises: OSError, ValueError, ImportError."""
    with fsspec.open(place, "rb") as file:
        content: bytes = file.read()
        return content


@contextmanager
def _buffered(file: Any) -> Iterator[Any]:
    """Few large writes: each one needs Python's lock, for which the threads that read the source would make it wait."""
    stream = pa.BufferedOutputStream(pa.PythonFile(file, "w"), WRITE_BUFFER)
    try:
        yield stream
    finally:
        stream.detach()  # which flushes, and leaves the file open


def _uncommitted(path: str) -> bool:
    return path.endswith(".tmp")


@contextmanager
def _explaining(place: str) -> Iterator[None]:
    try:
        yield
    except VectorferryError:
        raise
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise StagingRefused(f"{place}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StagingFull(
                f"no space left at {place}; nothing half-written was kept: free some space and clear the task"
            ) from error
        raise StagingError(f"{place}: {error}") from error
    except ImportError as error:
        raise StagingError(f"{place}: {error}") from error
    except Exception as error:
        if not _of_a_vendor(error):
            raise
        refused = any(word in type(error).__name__ for word in _REFUSALS)
        raise (StagingRefused if refused else StagingError)(f"{place}: {error}") from error


# fsspec's object stores turn what a server answers into OSErrors, but let through what their vendors' clients raise before they ask.
_VENDORS = frozenset({"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google"})
_REFUSALS = ("Auth", "Credential", "NoRegion", "ParamValidation")


def _of_a_vendor(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in _VENDORS


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    vectors = [f"{f.name}.list.element" for f in schema if pa.types.is_fixed_size_list(f.type)]
    texts = [f.name for f in schema if pa.types.is_string(f.type)]
    numbers = [f.name for f in schema if pa.types.is_integer(f.type)]
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in texts if name == "namespace"],
        "use_byte_stream_split": vectors,
        "write_statistics": texts + numbers,
    }


def rows_between(table: pa.Table, column: str, start: str | None, end: str | None) -> pa.Table:
    """Rows whose text in `column` lies in start <= x < end, compared bitwise."""
    keep = pa.scalar(True)
    values = table.column(column)
    if start is not None:
        keep = pc.and_(keep, pc.greater_equal(values, start))
    if end is not None:
        keep = pc.and_(keep, pc.less(values, end))
    return table if start is None and end is None else table.filter(keep)
