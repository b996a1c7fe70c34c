"""Secrets of a checkout's local servers: made once, kept in files that only their owner reads."""

import os
import secrets
from pathlib import Path


def secret(folder: Path, name: str, length: int = 32) -> str:
    """Return the secret `name` kept in `folder`, of `length` hexadecimal characters, making it where there is none."""
    path = folder / f"{name}.secret"
    if not path.exists():
        _create(path, secrets.token_hex(length // 2))
    return path.read_text(encoding="ascii")


def _create(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="ascii")
    try:
        # A link fails where the name exists: the first of two racing processes wins, and both read the same secret.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
