"""Rows of a chunk of tokens: brought to float32 in memory the caller lends, and back to where they came from.

A room is cut into blocks of CHUNK + 1 rows, a row being the `size` numbers of one head and token. Memory is an address.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from rwkv_music_kernels.cpu.vectors import LANES, NARROW, fold, load, load_bf16, store, store_bf16

# Tokens from one state kept for the backward pass to the next; those between are recomputed. At least NARROW - 1.
CHUNK = 16

FLOAT = 4


def compiled(function: Callable) -> Callable[..., Any]:
    """The function as machine code, kept on disk, that lets the GIL go."""
    return njit(nogil=True, cache=True)(function)


@compiled
def fold_rows(out, parts, size):
    """Each of `size` floats of `out` becomes the sum of NARROW of `parts`."""
    for i in range(0, size, NARROW):
        fold(out, i, parts, i * NARROW)


@compiled
def block(room, n, size):
    """The n-th block of a room: CHUNK + 1 rows of `size` floats."""
    return room + n * (CHUNK + 1) * size * FLOAT


@compiled
def row(room, n, q, size):
    """The q-th row of the n-th block."""
    return room + (n * (CHUNK + 1) + q) * size * FLOAT


@compiled
def read(rows, tensor, half, at, stride, count, size):
    """Bring `count` rows of `size` numbers, `stride` apart from tensor[at] on, together as floats."""
    for q in range(count):
        for j in range(0, size, LANES):
            store(rows, q * size + j, load_bf16(tensor, at + j) if half else load(tensor, at + j))
        at += stride


@compiled
def write(tensor, half, at, stride, count, size, rows):
    """Undo `read`."""
    for q in range(count):
        for j in range(0, size, LANES):
            if half:
                store_bf16(tensor, at + j, load(rows, q * size + j))
            else:
                store(tensor, at + j, load(rows, q * size + j))
        at += stride


@compiled
def copy(to, source, count):
    """Put `count` floats."""
    for i in range(0, count, LANES):
        store(to, i, load(source, i))


@compiled
def cover(place, x, size):
    """Put `size` floats, LANES times x each time."""
    for i in range(0, size, LANES):
        store(place, i, x)
