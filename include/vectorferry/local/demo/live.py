"""`make demo LIVE=1`: the application that writes while the demo migrates, the settler beside it, and the line that shows what it sees."""

import shutil
import sys
import time
from pathlib import Path

from vectorferry.engine import pipeline
from vectorferry.journal import open_journal
from vectorferry.local.demo.application import View, read_view
from vectorferry.local.demo.spec import Demo
from vectorferry.local.servers.supervisor import Service, Supervisor, tail
from vectorferry.spec.connections import connection_from_environment
from vectorferry.spec.loader import load_spec

APPLICATION, SETTLER = "application", "settler"
LINE_SECONDS = 10.0
_CLEAR = "\r\x1b[2K"


class LiveDemo:
    """The application's service in `folder`, and its view, told in a line that stays at the end of a terminal."""

    def __init__(self, demo: Demo, folder: Path) -> None:
        self._demo = demo
        self._view = folder / "view.json"
        self._folder = folder
        self._terminal = sys.stdout.isatty()
        self._shown = 0.0

    def start(self, supervisor: Supervisor) -> None:
        """Make the migration known, and start the application and a settler."""
        spec = load_spec(self._demo.spec_file)
        with open_journal(connection_from_environment(spec.journal), upgrade=True) as journal:
            pipeline.register(journal, spec, "operator")
        supervisor.start(self._services())

    def _services(self) -> list[Service]:
        command = (sys.executable, "-m")
        spec, data = str(self._demo.spec_file), str(self._demo.data)
        application = ("vectorferry.local.demo.application", spec, "--view", str(self._view), "--data", data)
        return [
            Service(
                APPLICATION,
                (*command, *application),
                self._folder,
                ready=lambda _: self._view.exists(),
                cwd=self._demo.checkout,
                grace=120,
                where="writes, deletes and searches through a router",
            ),
            Service(
                SETTLER,
                (*command, "vectorferry.cli", "settle", spec, "--follow"),
                self._folder,
                cwd=self._demo.checkout,
                where="keeps the other side up",
            ),
        ]

    def show(self) -> None:
        """Show the view: on a terminal in place, elsewhere now and then."""
        now = time.monotonic()
        view = read_view(self._view)
        if view is None or (not self._terminal and now < self._shown + LINE_SECONDS):
            return
        self._shown = now
        if self._terminal:
            sys.stdout.write(_CLEAR + view.line()[: shutil.get_terminal_size().columns - 1])
            sys.stdout.flush()
        else:
            print(view.line(), flush=True)

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self._terminal and self._shown:
            sys.stdout.write(_CLEAR)
            sys.stdout.flush()

    def end(self, supervisor: Supervisor) -> bool:
        """Stop the application, show its totals, and say whether it saw neither an error nor a loss."""
        self.clear()
        code = supervisor.end(APPLICATION)
        view = read_view(self._view) or View()
        print(f"\n{view.line()}\n  {view.verdict()}")
        if code and view.well:
            print(f"  it ended with exit code {code}\n{tail(self._folder / f'{APPLICATION}.log')}")
        return code == 0
