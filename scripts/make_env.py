"""Writes .env from .env.example, every empty value filled with a random secret; refuses to replace one."""

import base64
import secrets
import sys
from pathlib import Path


def fill(line: str) -> str:
    """Return a line of the example with its empty value filled; other lines as they are."""
    name, sign, value = line.partition("=")
    if line.startswith("#") or not sign or value:
        return line
    return f"{name}={_fernet_key() if 'FERNET' in name else secrets.token_hex(_length(name))}"


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _length(name: str) -> int:
    return (
        48
        if "JWT" in name
        else 8
        if name.endswith(("ADMIN_PASSWORD", "OPERATOR_PASSWORD", "APPROVER_PASSWORD"))
        else 24
    )


def main() -> int:
    example, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        target.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        print(f"{target} is there already; remove it to make new secrets", file=sys.stderr)
        return 1
    target.write_text(
        "".join(fill(line) + "\n" for line in example.read_text(encoding="utf-8").splitlines()), encoding="utf-8"
    )
    print(f"{target} holds new secrets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
