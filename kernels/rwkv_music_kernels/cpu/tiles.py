"""Rows times a matrix in the tiles that some processors multiply in one instruction (Intel's AMX).

They take bfloat16 and add float32 up. A float32 is the sum of three bfloat16, its 24 bits eight by eight, so every input
meets its weight three times, and the sums are as exact as those of floats, but for inputs below 1e-30, whose small parts
count as zero; an infinite one gives NaN. Weights are what bfloat16 holds, packed as TILES.

What a row gives does not depend on which rows are in its tile, nor on how many. Where a processor has no tiles, the same
kernel works on their slow twins (see `amx`): programs do not use it there, tests do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir
from numba import types
from numba.core import cgutils

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.amx import ROWS, Amx, tiles_of
from rwkv_music_kernels.cpu.kernel import Kernel, inner, numbers
from rwkv_music_kernels.cpu.matvec import INPUTS, PANEL
from rwkv_music_kernels.cpu.product import finish
from rwkv_music_kernels.cpu.scratch import FLOAT, LINE, buffer, rows_of
from rwkv_music_kernels.cpu.vectors import LANES, cut, load, operation, prefetch, store_upper, sub

# A tile has sixteen rows of a line each: of INPUTS bfloat16 of a row, of pairs of weights, or of sums for half a panel.
_TILE = ROWS * LINE
# Bfloat16 that a float32 is the sum of.
_PARTS = 3
# Bytes of the inputs of a block of sixteen rows, and of a panel's weights, that meet at a time; and of a row of sums.
_INPUTS = _PARTS * _TILE
_WEIGHTS = 2 * _TILE
_SUMS = PANEL * FLOAT
# Floats of the room for what the processor is told of its tiles, and for the sums of two blocks; behind them are inputs.
_TOLD = LINE // FLOAT
_ROOM = _TOLD + 2 * ROWS * PANEL
# Bytes of inputs that stay in the cache of a core beside the weights that they meet.
_NEAR = 5 << 18

_LONG = ir.IntType(64)


def rows_at_once(inputs: int) -> int:
    """Rows that one task takes."""
    rows = at.PRODUCT_ROWS
    while rows > 2 * ROWS and rows // ROWS * inputs // INPUTS * _INPUTS > _NEAR:
        rows //= 2
    return rows


def tiled_floats(inputs: int) -> int:
    """Floats of room that a task takes."""
    return _ROOM + rows_at_once(inputs) // ROWS * inputs // INPUTS * _INPUTS // FLOAT


@operation(types.void, types.int64)
def _begin(builder, told):
    """Set the tiles up as the line at an address tells."""
    tiles_of(builder).begin(told)


@operation(types.void)
def _end(builder):
    """Give the tiles back."""
    tiles_of(builder).end()


@operation(types.void, *[types.int64] * 4)
def _few_rows(builder, sums, rows, weights, tiles):
    """The sums, (16, PANEL), of a block of rows times the weights of a panel.

    rows: (inputs / INPUTS, _PARTS, 16, INPUTS). tiles: inputs / INPUTS.
    """
    parts, stored = (2, 3, 4), 7
    with _summed(builder, sums, 1) as at_hand, cgutils.for_range(builder, tiles) as loop:
        own, theirs = _behind(builder, rows, loop.index, _INPUTS), _behind(builder, weights, loop.index, _WEIGHTS)
        for part, tile in enumerate(parts):
            at_hand.load(tile, builder.add(own, _LONG(part * _TILE)))
        for half in range(2):
            _load_weights(builder, at_hand, stored, builder.add(theirs, _LONG(half * _TILE)))
            for tile in parts:
                at_hand.multiply(half, tile, stored)


@operation(types.void, *[types.int64] * 5)
def _many_rows(builder, sums, rows, apart, weights, tiles):
    """The same of two blocks of rows, `apart` bytes from each other: (2, 16, PANEL)."""
    taken, halves = (4, 5), (6, 7)
    with _summed(builder, sums, 2) as at_hand, cgutils.for_range(builder, tiles) as loop:
        own, theirs = _behind(builder, rows, loop.index, _INPUTS), _behind(builder, weights, loop.index, _WEIGHTS)
        for half, stored in enumerate(halves):
            _load_weights(builder, at_hand, stored, builder.add(theirs, _LONG(half * _TILE)))
        for part in range(_PARTS):
            for n, tile in enumerate(taken):
                block = builder.add(own, builder.mul(apart, _LONG(n)))
                at_hand.load(tile, builder.add(block, _LONG(part * _TILE)))
                for half, stored in enumerate(halves):
                    at_hand.multiply(2 * n + half, tile, stored)


@Kernel
def tiled(step, call, task, stop, room):
    """See `product`: the same of weights in TILES. Every thread takes its inputs apart in its own room."""
    step, call = numbers(step), numbers(call)
    (first_row, end), share, made = rows_of(step, call), step[at.SHARE], -1
    if task == stop:
        return
    tiles = step[at.INPUTS] // INPUTS
    inputs = room + _ROOM * FLOAT
    _tell(room, min(end - first_row, ROWS))
    _begin(room)
    for one in range(task, stop):
        first, panel = first_row + one // share * step[at.SPAN], one % share * 2
        count = min(step[at.SPAN], end - first)
        if made != first:
            for n in range(count):
                _take_apart(_block(inputs, n, tiles), n % ROWS, buffer(call, first + n, step[at.INPUT]), tiles)
            made = first
        _panels(step, call, first, count, panel, room + _TOLD * FLOAT, inputs, tiles)
    _end()


@inner
def _panels(step, call, first, count, first_panel, sums, inputs, tiles):
    """What `count` rows from the first on give for two panels, or for the last one."""
    for panel in range(first_panel, min(first_panel + 2, step[at.PANELS])):
        weights = step[at.WEIGHTS_AT] + panel * tiles * _WEIGHTS
        for start in range(0, count, 2 * ROWS):
            rows = _block(inputs, start, tiles)
            if count > ROWS:
                _many_rows(sums, rows, tiles * _INPUTS, weights, tiles)
            else:
                _few_rows(sums, rows, weights, tiles)
            for n in range(min(2 * ROWS, count - start)):
                finish(step, call, first + start + n, panel, load(sums, n * PANEL))


@inner
def _tell(told, rows):
    """What the processor reads of its tiles: that this is the first palette, and of each tile its bytes a row and its rows.

    rows: of all tiles but the last, which has all.
    """
    words = numbers(told)
    for n in range(LINE // 8):
        words[n] = 0
    words[0] = 1
    words[2] = words[3] = LINE * 0x0001_0001_0001_0001
    words[6] = rows * 0x01_0101_0101_0101 + (ROWS << 56)


@inner
def _block(inputs, n, tiles):
    """The block in which the n-th row of a task lies."""
    return inputs + n // ROWS * tiles * _INPUTS


@inner
def _take_apart(block, place, x, tiles):
    """Put a row of floats at x into its place in the tiles of a block. Places of no row stay as they are."""
    for tile in range(tiles):
        to, rest = block + tile * _INPUTS + place * LINE, load(x, tile * LANES)
        for part in range(_PARTS):
            head = cut(rest)
            store_upper(to + part * _TILE, 0, head)
            rest = sub(rest, head)


@contextmanager
def _summed(builder, sums, count) -> Iterator[Amx]:
    """The first tiles are sums from zero on, two side by side for each of `count`; they are stored in the end."""
    at_hand = tiles_of(builder)
    for total in range(2 * count):
        at_hand.clear(total)
    yield at_hand
    for total in range(2 * count):
        at_hand.store(total, builder.add(sums, _LONG(total // 2 * ROWS * _SUMS + total % 2 * LINE)), _SUMS)


def _load_weights(builder, at_hand, tile, address):
    """Load a tile, with the one behind asked for, which the processor does not do by itself."""
    for line in range(_TILE, 2 * _TILE, LINE):
        prefetch(builder, builder.add(address, _LONG(line)), nearest=True)
    at_hand.load(tile, address)


def _behind(builder, address, count, size):
    """The address behind `count` pieces of `size` bytes."""
    return builder.add(address, builder.mul(count, _LONG(size)))
