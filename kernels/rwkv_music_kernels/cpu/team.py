"""Threads that run one program together: they sleep between calls, and none is needed for a call to end."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.machine import run

# Bytes of weights times rows below which waking another thread costs more than it brings.
_MANY = 24 << 20


class Team:
    """The threads of one engine, as many as torch may use; calls may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._made_for: tuple[int, int] | None = None

    def size(self, work: int) -> int:
        """Threads for a call of `work`, bytes of weights times rows."""
        return 1 if work < _MANY else max(1, torch.get_num_threads())

    def run(self, table: np.ndarray, call: np.ndarray, threads: int) -> None:
        """Run the program on what `call` names; returns when all is done and no thread looks at it any more."""
        if threads == 1:
            run(table, call, _NO_COUNTERS, 0, 1)
            return
        counters = np.zeros((len(table), at.COUNTERS), dtype=np.int64)
        helpers = [self._workers(threads - 1).submit(run, table, call, counters, n, threads) for n in range(1, threads)]
        run(table, call, counters, 0, threads)
        for helper in helpers:
            # One that has not begun finds nothing to do.
            if not helper.cancel():
                helper.result()

    def _workers(self, count: int) -> ThreadPoolExecutor:
        # The threads of a pool do not survive a fork, so a child makes its own.
        wanted = (os.getpid(), count)
        with self._lock:
            if self._pool is None or self._made_for != wanted:
                self._pool = ThreadPoolExecutor(count, thread_name_prefix="rwkv-music-cpu")
                self._made_for = wanted
            return self._pool


_NO_COUNTERS = np.zeros((1, at.COUNTERS), dtype=np.int64)
