"""Heads over as many threads as torch may use."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

# Ranges a thread: the slower core takes fewer of them.
_RANGES = 4


class HeadPool:
    """Runs a task in every thread, which takes ranges of heads until none is left, and lets the GIL go for each.

    A pool of our own, for Numba's differ from machine to machine, and one of them ends the process when two threads
    enter it at once.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._made_for: tuple[int, int] | None = None

    def __reduce__(self):
        # A copy, here or in another process, makes its own threads.
        return HeadPool, ()

    def run(self, task: Callable[[Iterator[tuple[int, int]]], None], heads: int) -> None:
        """Returns when every head is done; what a task raises is raised here."""
        threads = max(1, min(torch.get_num_threads(), heads))
        width = max(1, heads // (threads * _RANGES))
        # Taking the next of a list is one step under the GIL, so no range is had twice.
        ranges = iter([(start, min(start + width, heads)) for start in range(0, heads, width)])
        helpers = [self._workers().submit(task, ranges) for _ in range(threads - 1)]
        task(ranges)
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
