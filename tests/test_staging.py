"""Staging: nothing half-written is ever seen, and every failure says where and what to do."""

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from servers import SeaweedFS
from vectorferry.core.errors import StagingCorrupt, StagingError, StagingFull, StagingRefused
from vectorferry.core.records import make_batch
from vectorferry.spec.connections import Connection, storage_options
from vectorferry.staging import Staging, rows_between


def some_batch(n: int = 100) -> pa.RecordBatch:
    rng = np.random.default_rng(1)
    return make_batch("ns", [f"id{i:04}" for i in range(n)], rng.standard_normal((n, 8), np.float32), ["{}"] * n)


@pytest.fixture(params=["local", "memory", "objects"])
def staging(request: pytest.FixtureRequest, tmp_path: Path) -> Staging:
    """On a local folder, in memory, where files are committed as they are closed, as an object store's are, and on a real object store."""
    if request.param == "objects":
        server: SeaweedFS = request.getfixturevalue("object_store")
        options = storage_options(
            Connection("s3", "aws", login=server.key, password=server.password, extra=server.extra)
        )
        return Staging(f"s3://vectorferry/{tmp_path.name}", options).at("plan")
    return Staging(str(tmp_path) if request.param == "local" else f"memory://{tmp_path}").at("plan")


@pytest.fixture
def local(tmp_path: Path) -> Staging:
    return Staging(str(tmp_path)).at("plan")


def test_a_table_comes_back_bit_for_bit(staging: Staging) -> None:
    part = staging.write_table("parts/p/part.parquet", some_batch().schema, [some_batch()])
    assert part.rows == 100
    assert part.bytes > 0
    assert staging.read_table(part.path).combine_chunks().to_batches()[0].equals(some_batch())


def test_a_failure_while_writing_leaves_nothing_behind(staging: Staging) -> None:
    def broken() -> Any:
        yield some_batch()
        raise RuntimeError("the source died")

    with pytest.raises(RuntimeError):
        staging.write_table("parts/p/part.parquet", some_batch().schema, broken())
    assert not staging.exists("parts/p/part.parquet")
    assert staging.list("parts/p") == []


def test_a_rewrite_keeps_the_old_file_until_it_is_whole(staging: Staging) -> None:
    staging.write_json("m.json", {"rows": 1})

    def broken() -> Any:
        yield some_batch()
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        staging.write_table("m.json", some_batch().schema, broken())
    assert staging.read_json("m.json") == {"rows": 1}


def test_an_upload_that_breaks_off_leaves_nothing_under_its_name_and_what_was_there_as_it_was(
    object_store: SeaweedFS, tmp_path: Path
) -> None:
    """The line is cut in the middle of what an object store is sent: as by a worker that dies, or a network that does."""
    staging = Staging(f"s3://vectorferry/{tmp_path.name}", storage_options(reached_at(object_store)))
    staging.write_table("old.parquet", some_batch().schema, [some_batch()])
    large = some_batch(20_000)
    with CutLine(urlsplit(object_store.url).port or 0, after=100_000) as line:
        broken = Staging(staging.url, storage_options(reached_at(object_store, line.url)))
        for name in ("new.parquet", "old.parquet"):
            with pytest.raises(StagingError, match=name):
                broken.write_table(name, large.schema, [large])
    assert line.cut >= 2
    assert staging.list("") == ["old.parquet"]
    assert staging.read_table("old.parquet").num_rows == 100


def reached_at(server: SeaweedFS, url: str = "") -> Connection:
    """A connection to an object store, at an address of its own where one is given; what fails is not tried again."""
    once = {"config_kwargs": {"retries": {"max_attempts": 0}}}
    extra = {**server.extra, **once, **({"endpoint_url": url} if url else {})}
    return Connection("s3", "aws", login=server.key, password=server.password, extra=extra)


class CutLine:
    """Passes on to a port of this machine what it is sent, and cuts each connection that has sent `after` bytes."""

    def __init__(self, port: int, after: int) -> None:
        self._port, self._after = port, after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            threading.Thread(target=forward, args=(server, client), daemon=True).start()
            if forward(client, server, self._after):
                self.cut += 1
                for end in (server, client):
                    end.shutdown(socket.SHUT_RDWR)


def forward(source: socket.socket, sink: socket.socket, most: int | None = None) -> bool:
    """Pass on what comes until there is no more; says whether `most` bytes came first."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            passed += len(data)
            if most is not None and passed > most:
                return True
            sink.sendall(data)
    return False


def test_two_writers_of_one_name_never_share_a_file(staging: Staging) -> None:
    def slow() -> Iterator[pa.RecordBatch]:
        yield some_batch()
        staging.write_table("part.parquet", some_batch().schema, [some_batch(30)])
        assert staging.read_table("part.parquet").num_rows == 30
        yield some_batch()

    assert staging.write_table("part.parquet", some_batch().schema, slow()).rows == 200
    assert staging.read_table("part.parquet").num_rows == 200
    assert staging.list("") == ["part.parquet"]


def test_a_file_that_was_replaced_is_not_read_as_the_one_that_was_noted(staging: Staging) -> None:
    noted = staging.write_table("part.parquet", some_batch().schema, [some_batch()])
    assert sum(map(len, staging.read_batches("part.parquet", 10, size=noted.bytes))) == 100
    staging.write_table("part.parquet", some_batch().schema, [some_batch(99)])
    with pytest.raises(
        StagingCorrupt, match=rf"part\.parquet is damaged: it has \d+ bytes, {noted.bytes} were written"
    ):
        list(staging.read_batches("part.parquet", 10, size=noted.bytes))


def test_what_was_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staging, real = Staging(f"memory://{tmp_path}"), MemoryFileSystem.pipe_file

    def another(fs: MemoryFileSystem, path: str, value: bytes) -> None:
        real(fs, path, value)
        if path.endswith("part.parquet"):
            staging.write_table("other.parquet", some_batch().schema, [some_batch(99)])
            real(fs, path, fs.cat_file(path.replace("part.", "other.")))

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", another)
    with pytest.raises(StagingError, match=r"part\.parquet has 99 rows in .* bytes, 100 rows in .* were written"):
        staging.write_table("part.parquet", some_batch().schema, [some_batch()])


def test_a_file_and_each_new_folder_above_it_are_on_disk(
    local: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set[int](), os.fsync

    def noting(file: int) -> None:
        synced.add(os.fstat(file).st_ino)
        real(file)

    monkeypatch.setattr("os.fsync", noting)
    local.write_json("parts/p/manifest.json", {})
    places = ["plan/parts/p/manifest.json", "plan/parts/p", "plan/parts", "plan", "."]
    assert {(tmp_path / place).stat().st_ino for place in places} <= synced


def test_no_space_left_is_said_plainly(local: Staging, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StagingFull, match=r"no space left at .*plan/x\.json"):
        local.write_json("x.json", {})
    assert not local.exists("x.json")
    assert local.list("") == []


def test_a_damaged_part_is_named(staging: Staging, tmp_path: Path) -> None:
    staging.write_bytes("parts/p/part.parquet", b"not parquet")
    with pytest.raises(StagingCorrupt, match=r"parts/p/part\.parquet"):
        staging.read_table("parts/p/part.parquet")
    with pytest.raises(StagingCorrupt, match="missing"):
        list(staging.read_batches("parts/p/other.parquet", 10))
    with pytest.raises(StagingCorrupt, match="missing or damaged"):
        staging.read_json("manifest.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StagingError, match="file"):
        Staging(str(tmp_path / "file")).write_json("x.json", {})


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(StagingError, match="nosuch"):
        Staging("nosuch://bucket/folder")


def test_any_fsspec_file_system_serves() -> None:
    staging = Staging("memory://bucket/folder").at("plan")
    part = staging.write_table("parts/p/part.parquet", some_batch().schema, [some_batch()])
    assert staging.read_table(part.path).num_rows == 100
    assert staging.list("parts/p") == ["parts/p/part.parquet"]
    staging.remove()
    assert not staging.exists(part.path)


def test_ranges_are_compared_bitwise() -> None:
    table = pa.table({"id": ["A", "Z", "a", "z", "é"]})
    assert rows_between(table, "id", "Z", "é").column("id").to_pylist() == ["Z", "a", "z"]
    assert rows_between(table, "id", None, None).num_rows == 5


def test_an_object_store_that_lets_nobody_in_is_refused_by_its_own_words(object_store: SeaweedFS) -> None:
    wrong = Connection("s3", "aws", login=object_store.key, password="wrong", extra=object_store.extra)
    with pytest.raises(StagingRefused, match="signature"):
        Staging("s3://vectorferry/x", storage_options(wrong)).write_json("a.json", {})
