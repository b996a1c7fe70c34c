"""Markers in descriptions: short texts that are kept as lines of a collection's own description, beside what people wrote there."""


def marker_in(description: str, name: str) -> str | None:
    """The text that is kept under a name, None where there is none."""
    prefix = _prefix(name)
    return next((line.removeprefix(prefix) for line in description.splitlines() if line.startswith(prefix)), None)


def with_marker(description: str, name: str, text: str | None) -> str:
    """The description with this text under the name in the place of another, or with none; all else stays as it is."""
    lines = [line for line in description.splitlines() if not line.startswith(_prefix(name))]
    return "\n".join(lines if text is None else [*lines, _prefix(name) + text])


def _prefix(name: str) -> str:
    return f"vectorferry {name}: "
