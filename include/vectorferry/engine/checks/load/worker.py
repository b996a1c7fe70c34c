"""Worker: the process that sends searches for another one, until that has no more, or is gone."""

import os
import queue
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection as Channel
from threading import Thread
from typing import Any

from vectorferry.core.errors import VectorferryError
from vectorferry.engine.checks.load.senders import Opening
from vectorferry.engine.checks.load.sending import Sent, Turn, send
from vectorferry.stores.base import VectorStore
from vectorferry.stores.caller import ONCE, Caller
from vectorferry.stores.sides import open_side


def main() -> None:
    """Open the side, then send one turn after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is interrupted ends this process
    channel: Channel[Any, Any] = Channel(int(sys.argv[1]))
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    Thread(target=_listen, args=(channel, heard), daemon=True).start()
    opening: Opening = heard.get()
    store, error = _outcome(lambda: _opened(opening))
    channel.send((None, error))
    while True:
        turn: Turn = heard.get()
        channel.send(_outcome(partial(_turn, store, opening, turn)))


def _opened(opening: Opening) -> VectorStore:
    # A search is sent once: what is tried again was not answered.
    store = open_side(opening.spec, opening.side, lambda _: opening.connection, caller=Caller(policy=ONCE))
    opening.asking.send(store, 0)
    return store


def _listen(channel: "Channel[Any, Any]", heard: "queue.SimpleQueue[Any]") -> None:
    try:
        while True:
            heard.put(channel.recv())
    except (EOFError, OSError):
        os._exit(1)  # nobody is there any more who would want an answer


def _turn(store: VectorStore, opening: Opening, turn: Turn) -> Sent:
    sent = send(turn, lambda place: opening.asking.send(store, place))
    return replace(sent, usage=store.usage)


def _outcome(work: Callable[[], Any]) -> tuple[Any, VectorferryError | None]:
    try:
        return work(), None
    except VectorferryError as error:  # it is raised in the process that asked
        return None, error


if __name__ == "__main__":
    main()
