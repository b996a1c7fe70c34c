"""Files that are whole under their name or not there, and copies that keep the holes of sparse files."""

import os
import shutil
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Give a file new contents; a reader, and who comes after a crash, sees the old or the new."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder; the engine's log is allocated far ahead, and its copy is to take no more room than what is written."""
    shutil.copytree(source, target, copy_function=_copy_sparse)


def _copy_sparse(source: str, target: str) -> str:
    size = Path(source).stat().st_size
    with open(source, "rb") as read, open(target, "wb") as write:  # noqa: PTH123 (the signature is shutil's)
        place = 0
        while place < size:
            try:
                begin = os.lseek(read.fileno(), place, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                break
            place = os.lseek(read.fileno(), begin, os.SEEK_HOLE)
            read.seek(begin)
            write.seek(begin)
            write.write(read.read(place - begin))
        write.truncate(size)
    return target
