"""Rows times a matrix, two panels of its outputs a task, and what becomes of the sums: `matvec` makes them."""

import numpy as np

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.kernel import Kernel, inner, invoke, numbers
from rwkv_music_kernels.cpu.matvec import INT8, PAIR, PANEL, TILE_ROWS
from rwkv_music_kernels.cpu.scratch import FLOAT, LINE, buffer, rows_of
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    add,
    ask_for,
    exp,
    fill,
    load,
    load_bf16,
    mul,
    sigmoid,
    silu,
    squared_relu,
    store,
    sub,
    tanh,
    zeros,
)
from rwkv_music_kernels.cpu.whole import make_whole

# log(-log(least decay)) of RWKV-7.
_DECAY7 = -0.6065306597126334

# Inputs that a panel meets all rows of a task with, before it goes on to the next: so many stay in the nearest cache.
STRETCH = 192
# Rows from which a stretch of BFLOAT16 is made floats once, in the room of the thread, and not anew in every tile.
MANY_ROWS = 32
# Floats of the room in which sums are gathered.
SUMS = at.PRODUCT_ROWS * PANEL
# Floats of the room for a stretch that was made floats.
WIDE = STRETCH * PANEL

_TILES = len(TILE_ROWS)
_multiply = invoke(11)


@Kernel
def product(step, call, task, stop, room):
    """Two panels of the outputs a task, for as many rows as it spans.

    INT8 takes rows that are whole numbers. Every thread makes them in its own room, which takes less time than to wait
    for another thread that did.
    """
    step, call = numbers(step), numbers(call)
    (first_row, end), share, made = rows_of(step, call), step[at.SHARE], -1
    for one in range(task, stop):
        first, panel = first_row + one // share * step[at.SPAN], one % share * 2
        count = min(step[at.SPAN], end - first)
        if step[at.KIND] == INT8 and made != first:
            for n in range(count):
                x = buffer(call, first + n, step[at.INPUT])
                make_whole(_whole(step, room, n), x, step[at.INPUTS], step[at.BLOCKS])
            made = first
        _panels(step, call, first, count, panel, room)


@inner
def _sums(room, n):
    """Of the n-th row of a task."""
    return room + n * PANEL * FLOAT


@inner
def _whole(step, room, n):
    """The n-th row of a task of INT8, as whole numbers."""
    return room + (SUMS + n * step[at.WHOLE]) * FLOAT


@inner
def _panels(step, call, first_row, rows, first_panel, room):
    panels, inputs = min(2, step[at.PANELS] - first_panel), step[at.INPUTS]
    if rows == 1 and panels == 2:
        weights = _weights(step, first_panel, 0)
        _tile(step, call, step[at.MULTIPLY_AT], weights, PAIR, first_row, 0, first_panel, 0, inputs, room)
        for n in range(panels):
            finish(step, call, first_row, first_panel + n, load(_sums(room, n), 0))
        return
    stretch = inputs if step[at.KIND] == INT8 else STRETCH
    widens = step[at.WIDE_MULTIPLY_AT] and rows >= MANY_ROWS
    multiply = step[at.WIDE_MULTIPLY_AT] if widens else step[at.MULTIPLY_AT]
    end = _weights(step, first_panel + panels, 0)
    for panel in range(first_panel, first_panel + panels):
        for start in range(0, inputs, stretch):
            count = min(stretch, inputs - start)
            weights, after = _weights(step, panel, start), _weights(step, panel, start + count)
            # The stretch after this one comes nearer while this one is worked on, a part of it with every tile.
            ahead = min(after - weights, end - after)
            if widens:
                weights = _widened(weights, count, room)
            row = 0
            while row < rows:
                tile = _TILES - 1
                while TILE_ROWS[tile] > rows - row:
                    tile -= 1
                next_row = row + TILE_ROWS[tile]
                _ask(after + ahead * row // rows, after + ahead * next_row // rows)
                _tile(step, call, multiply, weights, tile, first_row, row, panel, start, count, room)
                row = next_row
        for row in range(rows):
            finish(step, call, first_row + row, panel, load(_sums(room, row), 0))


@inner
def _weights(step, panel, start):
    """The address of what a panel has for the inputs from `start` on; panels lie one behind the other."""
    return step[at.WEIGHTS_AT] + (panel * step[at.INPUTS] + start) * PANEL * (FLOAT >> step[at.KIND])


@inner
def _ask(start, stop):
    """Have what lies between two addresses brought nearer."""
    for line in range(start, stop, LINE):
        ask_for(line)


@inner
def _widened(weights, count, room):
    """BFLOAT16 of a panel for `count` inputs as FLOAT32, in the room: where they lie now."""
    wide = room + SUMS * FLOAT
    for i in range(0, count * PANEL, LANES):
        store(wide, i, load_bf16(weights, i))
    return wide


@inner
def _tile(step, call, multiply, weights, tile, first_row, row, panel, start, count, room):
    """The sums of `count` inputs from `start` on go on from those of the inputs before them."""
    kind, blocks = step[at.KIND], step[at.BLOCKS]
    panel_bytes = step[at.INPUTS] * PANEL * (FLOAT >> kind)
    scales = step[at.SCALES_AT] + panel * blocks * PANEL * FLOAT
    x, pitch = buffer(call, first_row + row, step[at.INPUT] + start), call[at.PITCH]
    if kind == INT8:
        x, pitch = _whole(step, room, row), step[at.WHOLE]
    block, sums = count // blocks, _sums(room, row)
    _multiply(multiply, tile, x, pitch, weights, panel_bytes, scales, blocks, count, block, sums, start)


@inner
def finish(step, call, row, panel, y):
    """What becomes of the sums y of a panel: offset, activation, a factor; then kept, or added to what is there."""
    column = panel * PANEL
    if step[at.OFFSET_AT]:
        y = add(y, load(step[at.OFFSET_AT], column))
    y = _activated(step[at.ACTIVATION], y)
    if step[at.TIMES] != at.NOWHERE:
        y = mul(y, load(buffer(call, row, step[at.TIMES]), column))
    if step[at.TO] == at.LOGITS:
        store(call[at.LOGITS_AT], row * call[at.LOGITS_PITCH] + column, y)
        return
    out = buffer(call, row, step[at.TO])
    if step[at.ADDS]:
        y = add(y, load(out, column))
    store(out, column, y)


@inner
def _activated(activation, y):
    if activation == at.TANH:
        return tanh(y)
    if activation == at.SIGMOID:
        return sigmoid(y)
    if activation == at.SILU:
        return silu(y)
    if activation == at.SQUARED_RELU:
        return squared_relu(y)
    if activation == at.DECAY7:
        return exp(mul(fill(np.float32(_DECAY7)), sigmoid(y)))
    if activation == at.DECAY6:
        return exp(sub(zeros(), exp(y)))
    return y
