"""Parquet parts, manifests and reports of a run, each committed atomically, on a local folder or any fsspec file system."""

import errno
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from vectorferry.core.datasets import DatasetName, dataset_at
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
                self._fs.dircache.use_listings_cache = False  # other workers write files here too
        except ValueError as error:
            raise StagingRefused(f"{url}: {error}; write a folder, or a URL as in s3://bucket/folder") from error
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

    @property
    def dataset(self) -> DatasetName:
        """What OpenLineage calls this folder."""
        return dataset_at(self._fs.unstrip_protocol(self._root))

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
        """Commit a Parquet file of these batches; vectors are stored plain (byte-stream-split), everything in zstd.

        Reads its size and its number of rows back; raises StagingError where they are not what was written.
        """
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
            writer.close()
            stream.flush()
            size = file.tell()
        self._prove_committed(path, rows, size)
        return StagedPart(path, rows, size)

    def _prove_committed(self, path: str, rows: int, size: int) -> None:
        with _explaining(self.locate(path)), self._reading(path) as file:
            found = pq.ParquetFile(file).metadata.num_rows, _size(file)
        if found != (rows, size):
            raise StagingError(
                f"{self.locate(path)} has {found[0]} rows in {found[1]} bytes, {rows} rows in {size} bytes were written: "
                "another process writes under the same name, or the storage lost some; run the step again"
            )

    def read_table(
        self, path: str, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """A committed Parquet file, whole or the rows that pass, whose row groups alone are read then; raises StagingCorrupt."""
        with self._reading(path) as file:
            return pq.read_table(file, columns=columns, filters=where)

    def read_batches(
        self, path: str, rows: int, columns: Sequence[str] | None = None, size: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Batches of a committed Parquet file, in order; raises StagingCorrupt, also where it has not `size` bytes."""
        with self._reading(path) as file:
            if size is not None and (found := _size(file)) != size:
                raise StagingCorrupt(f"{self.locate(path)} is damaged: it has {found} bytes, {size} were written")
            yield from pq.ParquetFile(file).iter_batches(rows, columns=columns)

    def read_bucket(self, path: str, column: str, value: int, columns: Sequence[str]) -> pa.Table:
        """Rows of a committed Parquet file whose number in `column` is `value`; row groups without any are not read."""
        with self._reading(path) as file:
            return pq.read_table(file, columns=list(columns), filters=[(column, "=", value)])

    def read_range(
        self, path: str, column: str, start: str | None, end: str | None, columns: Sequence[str]
    ) -> pa.Table:
        """Rows of a committed Parquet file whose text in `column` lies in [start, end), bitwise; row groups without any are not read."""
        bounds = [(column, ">=", start)] if start is not None else []
        bounds += [(column, "<", end)] if end is not None else []
        with self._reading(path) as file:
            return pq.read_table(file, columns=list(columns), filters=bounds or None)

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
        full = self._full(path)
        with _explaining(self.locate(path)):
            if isinstance(self._fs, LocalFileSystem):
                with _renamed_once_whole(Path(full)) as local:
                    yield local
            else:
                # Closing a file of an object store commits it, however short it is: nothing is sent before it is whole.
                whole = BytesIO()
                yield whole
                self._fs.makedirs(posixpath.dirname(full), exist_ok=True)
                self._fs.pipe_file(full, whole.getvalue())

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
def _renamed_once_whole(path: Path) -> Iterator[Any]:
    """A file that stands under its name, whole and on disk, once the block ends without an error, and not at all otherwise.

    No two writers ever share the file that they write to: processes of two containers may have the same number.
    """
    _make_folder(path.parent)
    written = path.with_name(f"{path.name}.{uuid4().hex}{_UNCOMMITTED}")
    try:
        with written.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each entry on disk: a power cut must not take a file that the journal has noted."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        # Some network file systems have no such call, and keep folders safe by themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def _size(file: Any) -> int:
    """Bytes of a file that is open for reading."""
    return int(file.seek(0, os.SEEK_END))


@contextmanager
def _buffered(file: Any) -> Iterator[Any]:
    """Few large writes: each one needs Python's lock, for which the threads that read the source would make it wait."""
    stream = pa.BufferedOutputStream(pa.PythonFile(file, "w"), WRITE_BUFFER)
    try:
        yield stream
    finally:
        stream.detach()  # which flushes, and leaves the file open


_UNCOMMITTED = ".tmp"


def _uncommitted(path: str) -> bool:
    return path.endswith(_UNCOMMITTED)


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
