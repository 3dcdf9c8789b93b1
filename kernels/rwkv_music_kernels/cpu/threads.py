"""Heads over as many threads as torch may use."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

# Ranges a thread: the slower core takes fewer of them.
_RANGES = 4


class HeadPool:
    """Runs `task(start, stop)` over ranges of heads; the tasks must let the GIL go.

    A pool of our own, for Numba's differ from machine to machine, and one of them ends the process when two threads
    enter it at once.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._made_for: tuple[int, int] | None = None

    def __reduce__(self):
        # A copy, here or in another process, makes its own threads.
        return HeadPool, ()

    def run(self, task: Callable[[int, int], None], heads: int) -> None:
        """Returns when every head is done; what a task raises is raised here."""
        threads = min(torch.get_num_threads(), heads)
        if threads < 2:
            return task(0, heads)
        width = -(-heads // (threads * _RANGES))
        starts = iter(range(0, heads, width))

        def work() -> None:
            # next() of a range iterator is one step under the GIL, so no range is had twice.
            for start in starts:
                task(start, min(start + width, heads))

        helpers = [self._workers().submit(work) for _ in range(threads - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()

    def _workers(self) -> ThreadPoolExecutor:
        # The threads of a pool do not survive a fork, so a child makes its own.
        wanted = (os.getpid(), torch.get_num_threads())
        if self._pool is None or self._made_for != wanted:
            self._pool = ThreadPoolExecutor(wanted[1] - 1, thread_name_prefix="rwkv-music-kernels")
            self._made_for = wanted
        return self._pool
