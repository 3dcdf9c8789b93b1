"""What is done to one row after the other: embedding, layer norm and the mix with the row before."""

import math

import numpy as np

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.kernel import Kernel, inner, numbers
from rwkv_music_kernels.cpu.scratch import FLOAT, buffer, rows_of
from rwkv_music_kernels.cpu.vectors import (
    LANES,
    add,
    fill,
    load,
    load_bf16,
    mul,
    muladd,
    store,
    sub,
    total,
    zeros,
)

_NORM_EPS = 1e-5


@Kernel
def embed(step, call, task, stop, room):
    """The normed embedding of a token."""
    step, call = numbers(step), numbers(call)
    ids, out_of, width = numbers(call[at.IDS_AT]), step[at.OUT], step[at.WIDTH]
    first, end = rows_of(step, call)
    for row in range(first + task * at.FEW_ROWS, min(first + stop * at.FEW_ROWS, end)):
        entry, out = ids[row] * width, buffer(call, row, out_of)
        for i in range(0, width, LANES):
            table = step[at.TABLE_AT]
            store(out, i, load_bf16(table, entry + i) if step[at.HALF] else load(table, entry + i))
        _norm(out, out, width, step[at.WEIGHT_AT], step[at.BIAS_AT])


@Kernel
def norm(step, call, task, stop, room):
    """The layer norm of a row; the last of a piece is also what the next token will be mixed with."""
    step, call = numbers(step), numbers(call)
    first, end = rows_of(step, call)
    for row in range(first + task * at.FEW_ROWS, min(first + stop * at.FEW_ROWS, end)):
        _norm_row(step, call, row)


@Kernel
def mix(step, call, task, stop, room):
    """x + (x_before - x) m for each of the mixes, into buffers one behind the other."""
    step, call = numbers(step), numbers(call)
    first, end = rows_of(step, call)
    for row in range(first + task * at.FEW_ROWS, min(first + stop * at.FEW_ROWS, end)):
        _mix_row(step, call, row)


@inner
def _norm_row(step, call, row):
    pieces, length, width = call[at.PIECES], call[at.LENGTH], step[at.WIDTH]
    source = row
    if step[at.COUNT] == at.RESULTS and not call[at.ALL_LOGITS]:
        source = (row + 1) * length - 1
    out = buffer(call, row, step[at.OUT])
    _norm(out, buffer(call, source, step[at.INPUT]), width, step[at.WEIGHT_AT], step[at.BIAS_AT])
    if step[at.SHIFT] != at.NO_SHIFT and row % length == length - 1:
        new = call[at.NEW_TIME_SHIFT_AT if step[at.SHIFT] == at.TIME_SHIFT else at.NEW_CHANNEL_SHIFT_AT]
        kept = (step[at.LAYER] * pieces + row // length) * width
        for i in range(0, width, LANES):
            store(new, kept + i, load(out, i))


@inner
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


@inner
def _mix_row(step, call, row):
    length, width = call[at.LENGTH], step[at.WIDTH]
    x, out = buffer(call, row, step[at.INPUT]), buffer(call, row, step[at.OUT])
    if row % length:
        before = buffer(call, row - 1, step[at.INPUT])
    else:
        old = call[at.OLD_TIME_SHIFT_AT if step[at.SHIFT] == at.TIME_SHIFT else at.OLD_CHANNEL_SHIFT_AT]
        before = old + (step[at.LAYER] * call[at.PIECES] + row // length) * width * FLOAT
    mixes = step[at.MIXES_AT]
    if mixes == 0:
        mixes = buffer(call, row, step[at.MIXES])
    for i in range(0, width, LANES):
        now = load(x, i)
        change = sub(load(before, i), now)
        for n in range(step[at.MANY]):
            store(out, n * width + i, muladd(change, load(mixes, n * width + i), now))
