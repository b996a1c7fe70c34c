"""Work beside the main thread, whose failure is not overlooked."""

import threading


class Background:
    """A context in which `_run` runs in a thread of its own, until `_stop` is set; leaving it raises what the thread raised."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, name=name)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 (raised at the end of the context)
            self._error = error
