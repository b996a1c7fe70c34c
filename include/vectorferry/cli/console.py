"""Console: tables, texts and progress for people, one JSON document for machines."""

import sys
from collections.abc import Iterable
from dataclasses import asdict, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from vectorferry.cli.next_step import written_out
from vectorferry.cli.plain import plain
from vectorferry.cli.progress import Live

if TYPE_CHECKING:
    from rich.console import Console as Rich

    from vectorferry.engine.session import StepProgress


class Console:
    """Shows results on standard output and progress on standard error, so that the former can be piped.

    Rich is imported when something is drawn with it: a JSON document needs none of it.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self._file = sys.stdout
        self._live = Live(sys.stderr)

    @cached_property
    def _out(self) -> "Rich":
        from rich.console import Console as Rich

        return Rich(file=self._file, highlight=False)

    def report(self, progress: "StepProgress") -> None:
        """Show progress."""
        self._live.show(progress)

    def result(self, value: Any, text: str, *, then: str = "") -> None:
        """Print a result: `value` for machines, `text` for people, and for them what to do `then`."""
        self._live.close()
        if self.json:
            import orjson

            self._file.write(orjson.dumps(value, default=_plain).decode() + "\n")
        else:
            self._out.print(plain(text), markup=False, soft_wrap=True)
            if then:
                self._out.print(plain(written_out(then)), markup=False, soft_wrap=True)

    def table(self, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
        """Print a table for people; one without rows says nothing."""
        self._live.close()
        shown = [[plain(str(cell)) for cell in row] for row in rows]
        if self.json or not shown:
            return
        from rich.table import Table
        from rich.text import Text

        names = list(columns)
        table = Table(*names, title=Text(plain(title)), title_justify="left", show_header=any(names))
        for row in shown:
            table.add_row(*map(Text, row))
        self._out.print(table)

    def markdown(self, text: str) -> None:
        """Print Markdown for people."""
        self._live.close()
        if not self.json:
            from rich.markdown import Markdown

            self._out.print(Markdown(text))

    def clear(self) -> None:
        """Empty a terminal that people look at."""
        if not self.json:
            self._out.clear()

    def note(self, text: str) -> None:
        """Print one line beside the result."""
        self._live.note(text)

    def ask(self, prompt: str) -> str:
        """A line that a person types; raises EOFError where nobody does."""
        return self._live.ask(prompt)


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else dict(value)
