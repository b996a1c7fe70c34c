"""Plain text for a terminal: names of the data are shown as they are, and neither style it nor steer it."""


def plain(text: str) -> str:
    """The text with a mark in the place of every character that a terminal would obey instead of showing it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
