"""Scripts and style of a report, as they are written into it, and the content policy that allows these and nothing else."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_LIBRARIES = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
_IMPORT = "import {"


@cache
def libraries() -> tuple[str, ...]:
    """The charting library, in the order in which it is loaded."""
    return tuple(_text(name) for name in _LIBRARIES)


@cache
def script() -> str:
    """Our own script as one module: a file without network has nowhere to import the charts from, so they stand before it."""
    own = [line for line in _text("report.js").splitlines() if not line.startswith(_IMPORT)]
    return "\n".join([_text("charts.js"), *own])


@cache
def style() -> str:
    """The style sheet."""
    return _text("report.css")


@cache
def policy() -> str:
    """The content policy of a report: what stands in it by its hashes, nothing from elsewhere, and nothing is sent anywhere."""
    scripts = " ".join(_hash(each) for each in (*libraries(), script()))
    rules = ("default-src 'none'", f"script-src {scripts}", f"style-src {_hash(style())}", "img-src data:")
    return "; ".join((*rules, "base-uri 'none'", "form-action 'none'"))


def _text(name: str) -> str:
    text = (STATIC / name).read_text(encoding="utf-8")
    assert "</script" not in text.lower(), f"{name} would end its own element"
    return text


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
