"""How many takes each person lets grow at a time, in all of their pieces."""

import threading
from collections import Counter

from rwkv_music_app.errors import TooManyError


class Places:
    """So many for everybody; any thread may take and free some."""

    def __init__(self, most: int):
        self._most = most
        # By the hash of whose they are.
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, owner: str, count: int) -> None:
        """So many takes begin to grow. Raises TooManyError."""
        with self._lock:
            if self._taken[owner] + count > self._most:
                raise TooManyError("you are composing many pieces already: wait for one, or stop it")
            self._taken[owner] += count

    def free(self, owner: str, count: int) -> None:
        """They grow no more."""
        with self._lock:
            self._taken[owner] -= count
            if not self._taken[owner]:
                del self._taken[owner]
