"""Heavy work that few do at once: some more wait their turn, and everybody else is told to come back.

Whoever waits holds a thread, of which a server has few: all who may wait together must leave some to Stop and to looks.
"""

import threading

from rwkv_music_app.batcher import BusyError


class Turns:
    """`with turns:` around the work. Any thread may enter, none twice."""

    def __init__(self, at_once: int, waiting: int):
        """at_once: how many work; waiting: how many more wait for one of them to be done."""
        self._working = threading.BoundedSemaphore(at_once)
        self._here = threading.BoundedSemaphore(at_once + waiting)

    def __enter__(self) -> None:
        """Raises BusyError where too many wait already."""
        if not self._here.acquire(blocking=False):
            raise BusyError("too many people want this at this moment: try again in a minute")
        self._working.acquire()

    def __exit__(self, *_: object) -> None:
        self._working.release()
        self._here.release()
