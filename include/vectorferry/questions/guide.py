"""What an approver, who need be no engineer, reads about the lines of a question; `approving.md` is docs/approving.md too."""

from importlib.resources import files


def guide() -> str:
    """The guide, as Markdown without links, as it is read at several addresses."""
    return files("vectorferry.questions").joinpath("approving.md").read_text(encoding="utf-8")
