"""The CPU machine: runs a program of operations, the whole forward pass of any RWKV version, in every thread of a team.

An operation is cut into tasks that threads take from a shared counter, a run of them at a time: cores that share a
counter pay for every look at it, and memory is read fastest in order. Who takes which changes no number. A thread
waits behind an operation until its tasks are done, not until the other threads have come, so one that the system has
put to sleep holds nobody up unless it sleeps over a task. See `layout` for what the tables hold.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.atomics import give_way, look, rest, take
from rwkv_music_kernels.cpu.heads import heads4, heads6, heads7
from rwkv_music_kernels.cpu.matvec import INT8, PAIR, PANEL, TILE_ROOM, TILE_ROWS, multiply
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    add,
    exp,
    fill,
    load,
    load_bf16,
    mul,
    muladd,
    sigmoid,
    silu,
    squared_relu,
    store,
    sub,
    tanh,
    total,
    zeros,
)
from rwkv_music_kernels.cpu.whole import make_whole

# Rows that one task of a norm or a mix takes.
_FEW_ROWS = 4
# Runs of tasks that an operation has for each thread.
_RUNS = 2
# Turns of waiting before a thread offers its core to others.
_PATIENCE = 400
_NORM_EPS = 1e-5
# log(-log(least decay)) of RWKV-7.
_DECAY7 = -0.6065306597126334

_FLOAT = 4
_SMALLEST_TILE, _TILES = PAIR + 1, len(TILE_ROWS)


def _compiled(function: Callable) -> Callable[..., Any]:
    return njit(nogil=True, cache=True)(function)


@_compiled
def run(program, call, counters, thread, threads):
    """Run every step of `program` on the memory that `call` names, together with the other threads of the call.

    program: (steps, STEP_SIZE), call: (CALL_SIZE,), counters: (steps, COUNTERS) zeros, shared by the threads of
    this call and unused if one is all there is; all int64. thread: whose room to work in.
    """
    room = call[at.ROOMS_AT] + thread * call[at.ROOM_PITCH] * _FLOAT
    begun, expected = 0, 0
    for n in range(program.shape[0]):
        step = program[n]
        tasks = _count_tasks(step, call)
        if threads == 1:
            _do_run(step, call, 0, tasks, room, -1)
            continue
        shared = counters.ctypes.data
        taken, done = shared + n * at.COUNTERS * 8, shared + (begun * at.COUNTERS + at.DONE) * 8
        expected += tasks
        at_once = (tasks + threads * _RUNS - 1) // (threads * _RUNS)
        ready, own = -1, 0
        task = take(taken, at_once)
        while task < tasks:
            stop = min(task + at_once, tasks)
            ready = _do_run(step, call, task, stop, room, ready)
            own += stop - task
            task = take(taken, at_once)
        if own:
            take(done, own)
        if step[at.ENDS]:
            _wait(done, expected)
            begun, expected = n + 1, 0


@_compiled
def _do_run(step, call, task, stop, room, ready):
    """Tasks up to `stop`; see `_prepare`."""
    for one in range(task, stop):
        ready = _prepare(step, call, one, room, ready)
        _do(step, call, one, room)
    return ready


@_compiled
def _wait(done, expected):
    turns = 0
    while look(done) < expected:
        turns += 1
        if turns < _PATIENCE:
            rest()
        else:
            give_way()


@_compiled
def _count_rows(step, call):
    if step[at.COUNT] == at.RESULTS and not call[at.ALL_LOGITS]:
        return call[at.PIECES]
    return call[at.PIECES] * call[at.LENGTH]


@_compiled
def _count_tasks(step, call):
    rows = _count_rows(step, call)
    code = step[at.CODE]
    if code == at.PRODUCT:
        return _pairs(step) * ((rows + at.PRODUCT_ROWS - 1) // at.PRODUCT_ROWS)
    if code >= at.HEADS7:
        return call[at.PIECES] * step[at.HEADS]
    return (rows + _FEW_ROWS - 1) // _FEW_ROWS


@_compiled
def _pairs(step):
    """Tasks of a product that share their rows: two panels each."""
    return (step[at.PANELS] + 1) // 2


@_compiled
def _rows_of(step, call, task):
    """The first row of a task of a product, and how many they are."""
    first = task // _pairs(step) * at.PRODUCT_ROWS
    return first, min(at.PRODUCT_ROWS, _count_rows(step, call) - first)


@_compiled
def _prepare(step, call, task, room, ready):
    """Bring the rows of a task of INT8 into the room as whole numbers, unless they are there: the first of those is
    `ready`, or -1. Returns the first of the rows that are there now.

    Every thread does so for itself: it takes less time than to wait for another thread that did.
    """
    if step[at.CODE] != at.PRODUCT or step[at.KIND] != INT8:
        return ready
    first, rows = _rows_of(step, call, task)
    if first != ready:
        for n in range(rows):
            x = _buffer(call, first + n, step[at.INPUT])
            make_whole(_whole(step, room, n), x, step[at.INPUTS], step[at.BLOCKS])
    return first


@_compiled
def _whole(step, room, n):
    """The n-th row of a task of INT8, as whole numbers."""
    return room + (TILE_ROOM + n * step[at.WHOLE]) * _FLOAT


@_compiled
def _do(step, call, task, room):
    code = step[at.CODE]
    if code == at.PRODUCT:
        _product(step, call, task, room)
    elif code == at.HEADS7:
        heads7(step, call, task, room)
    elif code == at.HEADS6:
        heads6(step, call, task, room)
    elif code == at.HEADS4:
        heads4(step, call, task)
    else:
        start = task * _FEW_ROWS
        for row in range(start, min(start + _FEW_ROWS, _count_rows(step, call))):
            if code == at.MIX:
                _mix(step, call, row)
            elif code == at.NORM:
                _norm_row(step, call, row)
            else:
                _embed_row(step, call, row)


@_compiled
def _buffer(call, row, column):
    return call[at.SCRATCH_AT] + (row * call[at.PITCH] + column) * _FLOAT


@_compiled
def _embed_row(step, call, row):
    """The normed embedding of a token."""
    ids = call[at.IDS_AT]
    token = look(ids + row * 8)
    out, width = _buffer(call, row, step[at.OUT]), step[at.WIDTH]
    for i in range(0, width, LANES):
        start = token * width + i
        store(out, i, load_bf16(step[at.TABLE_AT], start) if step[at.HALF] else load(step[at.TABLE_AT], start))
    _norm(out, out, width, step[at.WEIGHT_AT], step[at.BIAS_AT])


@_compiled
def _norm_row(step, call, row):
    """The layer norm of a row; the last of a piece is also what the next token will be mixed with."""
    pieces, length, width = call[at.PIECES], call[at.LENGTH], step[at.WIDTH]
    source = row
    if step[at.COUNT] == at.RESULTS and not call[at.ALL_LOGITS]:
        source = (row + 1) * length - 1
    out = _buffer(call, row, step[at.OUT])
    _norm(out, _buffer(call, source, step[at.INPUT]), width, step[at.WEIGHT_AT], step[at.BIAS_AT])
    if step[at.SHIFT] != at.NO_SHIFT and row % length == length - 1:
        new = call[at.NEW_TIME_SHIFT_AT if step[at.SHIFT] == at.TIME_SHIFT else at.NEW_CHANNEL_SHIFT_AT]
        kept = (step[at.LAYER] * pieces + row // length) * width
        for i in range(0, width, LANES):
            store(new, kept + i, load(out, i))


@_compiled
def _norm(out, x, width, weight, bias):
    whole = zeros()
    for i in range(0, width, LANES):
        whole = add(whole, load(x, i))
    mean = fill(np.float32(total(whole) / np.float32(width)))
    whole = zeros()
    for i in range(0, width, LANES):
        away = sub(load(x, i), mean)
        whole = muladd(away, away, whole)
    scale = fill(np.float32(1 / math.sqrt(total(whole) / np.float32(width) + _NORM_EPS)))
    for i in range(0, width, LANES):
        normed = mul(sub(load(x, i), mean), scale)
        store(out, i, muladd(normed, load(weight, i), load(bias, i)))


@_compiled
def _mix(step, call, row):
    """x + (x_before - x) m for each of the mixes, into buffers one behind the other."""
    length, width = call[at.LENGTH], step[at.WIDTH]
    x, out = _buffer(call, row, step[at.INPUT]), _buffer(call, row, step[at.OUT])
    if row % length:
        before = _buffer(call, row - 1, step[at.INPUT])
    else:
        old = call[at.OLD_TIME_SHIFT_AT if step[at.SHIFT] == at.TIME_SHIFT else at.OLD_CHANNEL_SHIFT_AT]
        before = old + (step[at.LAYER] * call[at.PIECES] + row // length) * width * _FLOAT
    mixes = step[at.MIXES_AT]
    if mixes == 0:
        mixes = _buffer(call, row, step[at.MIXES])
    for i in range(0, width, LANES):
        now = load(x, i)
        change = sub(load(before, i), now)
        for n in range(step[at.MANY]):
            store(out, n * width + i, muladd(change, load(mixes, n * width + i), now))


@_compiled
def _product(step, call, task, room):
    """Two panels of the outputs for at most PRODUCT_ROWS rows."""
    first_panel = task % _pairs(step) * 2
    panels = min(2, step[at.PANELS] - first_panel)
    first_row, rows = _rows_of(step, call, task)
    if rows == 1 and panels == 2:
        _tile(step, call, PAIR, first_row, 0, first_panel, room)
        _finish(step, call, first_row, first_panel, room)
        _finish(step, call, first_row, first_panel + 1, room + PANEL * _FLOAT)
        return
    for panel in range(first_panel, first_panel + panels):
        row = 0
        while row < rows:
            tile = _TILES - 1
            while TILE_ROWS[tile] > rows - row:
                tile -= 1
            _tile(step, call, tile, first_row, row, panel, room)
            for n in range(TILE_ROWS[tile]):
                _finish(step, call, first_row + row + n, panel, room + n * PANEL * _FLOAT)
            row += TILE_ROWS[tile]


@_compiled
def _tile(step, call, tile, first_row, row, panel, room):
    kind, inputs, blocks = step[at.KIND], step[at.INPUTS], step[at.BLOCKS]
    panel_bytes = inputs * PANEL * (_FLOAT >> kind)
    weights = step[at.WEIGHTS_AT] + panel * panel_bytes
    scales = step[at.SCALES_AT] + panel * blocks * PANEL * _FLOAT
    x, pitch = _buffer(call, first_row + row, step[at.INPUT]), call[at.PITCH]
    if kind == INT8:
        x, pitch = _whole(step, room, row), step[at.WHOLE]
    multiply(tile, kind, x, pitch, weights, panel_bytes, scales, blocks, inputs, inputs // blocks, room)


@_compiled
def _finish(step, call, row, panel, sums):
    """What becomes of the sums of a panel: offset, activation, a factor; then kept, or added to what is there."""
    y = load(sums, 0)
    column = panel * PANEL
    if step[at.OFFSET_AT]:
        y = add(y, load(step[at.OFFSET_AT], column))
    y = _activated(step[at.ACTIVATION], y)
    if step[at.TIMES] != at.NOWHERE:
        y = mul(y, load(_buffer(call, row, step[at.TIMES]), column))
    if step[at.TO] == at.LOGITS:
        store(call[at.LOGITS_AT], row * call[at.LOGITS_PITCH] + column, y)
        return
    out = _buffer(call, row, step[at.TO])
    if step[at.ADDS]:
        y = add(y, load(out, column))
    store(out, column, y)


@_compiled
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
