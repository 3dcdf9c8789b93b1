"""The fused kernels of what surrounds the recurrences, forward and backward; `elementwise` makes operators of them.

Tokens of all pieces lie one behind the other, rows = B T. Numbers are float32 inside. Sums over tokens are kept a part a
program and added up afterwards, so that the same tensors give the same bits every time.
"""

from collections.abc import Iterator
from typing import Any

import triton
import triton.language as tl

from rwkv_music_kernels.contract import GROUP_NORM_EPS

# Tokens and channels that a program takes at once where heads do not matter, tokens where they do.
ROWS, CHANNELS = 4, 256
HEAD_ROWS = 8
FLAT = 1024
WARPS = 4
# Below this length a key counts as nothing, as in torch.nn.functional.normalize.
LEAST_LENGTH = 1e-12

# Of what changes from call to call: compiling anew for some values would cost more than it gains.
_loose = triton.jit(do_not_specialize=["rows", "tokens", "turns"])
# A part of several kernels; triton.jit's own type forbids to unpack what one returns.
_part: Any = triton.jit


@_part
def _tile(x, last, opens, row, channel, rows, tokens, width, PACKED: tl.constexpr):
    """Places and values of a tile of tokens and channels, and what changed since the token before."""
    inside = (row < rows)[:, None] & (channel < width)[None, :]
    place = row[:, None] * width + channel[None, :]
    if PACKED:
        piece = tl.load(opens + tl.minimum(row, rows))
        first = (piece >= 0)[:, None]
    else:
        piece = row // tokens
        first = (row % tokens == 0)[:, None]
    start = piece[:, None] * width + channel[None, :]
    here = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    before = tl.load(x + place - width, mask=inside & ~first, other=0.0).to(tl.float32)
    before += tl.load(last + start, mask=inside & first, other=0.0).to(tl.float32)
    return inside, place, first, start, here, before - here


@_loose
def shift_mix_forward(
    x, last, opens, mixes, outs, rows, tokens, width,
    COUNT: tl.constexpr, WIDE: tl.constexpr, PACKED: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Bit i of WIDE: mix i has numbers for every token. opens: see `sequences.openings`, read where PACKED."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside, place, _, _, here, change = _tile(x, last, opens, row, channel, rows, tokens, width, PACKED)
    for i in tl.static_range(COUNT):  # pyright: ignore[reportGeneralTypeIssues]
        at = place if (WIDE >> i) & 1 else channel[None, :]
        share = tl.load(mixes[i] + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(outs[i] + place, (here + change * share).to(outs[i].dtype.element_ty), mask=inside)


@_loose
def shift_mix_backward(
    x, last, opens, mixes, grads, d_mixes, dx, d_last, sums, rows, tokens, turns, width,
    COUNT: tl.constexpr, WIDE: tl.constexpr, PACKED: tl.constexpr, LINES: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """sums: (parts, COUNT, C) float32, this program's sums over its tokens for mixes of shape (C,)."""
    part = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    line = tl.arange(0, LINES)
    total = tl.zeros((LINES, BLOCK), tl.float32)
    for turn in range(turns):
        row = (part * turns + turn) * ROWS + tl.arange(0, ROWS)
        inside, place, first, start, _, change = _tile(x, last, opens, row, channel, rows, tokens, width, PACKED)
        last_one = tl.load(opens + tl.minimum(row + 1, rows)) >= 0 if PACKED else row % tokens == tokens - 1
        followed = inside & ~last_one[:, None]
        own = tl.zeros((ROWS, BLOCK), tl.float32)
        to_before = tl.zeros((ROWS, BLOCK), tl.float32)
        for i in tl.static_range(COUNT):
            at = place if (WIDE >> i) & 1 else channel[None, :]
            after = place + width if (WIDE >> i) & 1 else channel[None, :]
            g = tl.load(grads[i] + place, mask=inside, other=0.0).to(tl.float32)
            share = tl.load(mixes[i] + at, mask=inside, other=0.0).to(tl.float32)
            own += g * (1.0 - share)
            to_before += g * share
            g_after = tl.load(grads[i] + place + width, mask=followed, other=0.0).to(tl.float32)
            own += g_after * tl.load(mixes[i] + after, mask=followed, other=0.0).to(tl.float32)
            if (WIDE >> i) & 1:
                tl.store(d_mixes[i] + place, (g * change).to(d_mixes[i].dtype.element_ty), mask=inside)
            else:
                total += tl.where((line == i)[:, None], tl.sum(g * change, axis=0)[None, :], 0.0)
        tl.store(dx + place, own.to(dx.dtype.element_ty), mask=inside)
        tl.store(d_last + start, to_before.to(d_last.dtype.element_ty), mask=inside & first)
    at = (part * COUNT + line[:, None]) * width + channel[None, :]
    tl.store(sums + at, total, mask=(line < COUNT)[:, None] & (channel < width)[None, :])


@_part
def _head(row, rows, size, width, HEAD: tl.constexpr):
    """Places of this program's head in a tile of tokens, and of its channels among all."""
    head = tl.program_id(1)
    n = tl.arange(0, HEAD)
    channel = head * size + n
    inside = (row < rows)[:, None] & (n < size)[None, :]
    return channel, n < size, row[:, None] * width + channel[None, :], inside


@_part
def _unit(z, LEAST: tl.constexpr):
    """Rows of z brought to length 1, and by what they were divided."""
    length = tl.sqrt(tl.sum(z * z, axis=1))
    by = tl.maximum(length, LEAST)
    return z / by[:, None], by, length > LEAST


@_loose
def removal_key_forward(
    k, rate, k_k, k_a, key, removed, back, rows, size, width,
    LEAST: tl.constexpr, ROWS: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel, mine, place, inside = _head(row, rows, size, width, HEAD)
    scale = tl.load(k_k + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
    weaken = tl.load(k_a + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
    own = tl.load(k + place, mask=inside, other=0.0).to(tl.float32)
    speed = tl.load(rate + place, mask=inside, other=0.0).to(tl.float32)
    kk, _, _ = _unit(own * scale, LEAST)
    tl.store(key + place, own + own * weaken * (speed - 1.0), mask=inside)
    tl.store(removed + place, -kk, mask=inside)
    tl.store(back + place, kk * speed, mask=inside)


@_loose
def removal_key_backward(
    k, rate, k_k, k_a, g_key, g_removed, g_back, dk, d_rate, sums, rows, turns, size, width,
    LEAST: tl.constexpr, ROWS: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    """sums: (parts, 2, C) float32, for k_k and k_a."""
    part = tl.program_id(0).to(tl.int64)
    total_k = tl.zeros((HEAD,), tl.float32)
    total_a = tl.zeros((HEAD,), tl.float32)
    for turn in range(turns):
        row = (part * turns + turn) * ROWS + tl.arange(0, ROWS)
        channel, mine, place, inside = _head(row, rows, size, width, HEAD)
        scale = tl.load(k_k + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
        weaken = tl.load(k_a + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
        own = tl.load(k + place, mask=inside, other=0.0).to(tl.float32)
        speed = tl.load(rate + place, mask=inside, other=0.0).to(tl.float32)
        kk, by, long = _unit(own * scale, LEAST)
        g = tl.load(g_key + place, mask=inside, other=0.0).to(tl.float32)
        gb = tl.load(g_back + place, mask=inside, other=0.0).to(tl.float32)
        g_kk = gb * speed - tl.load(g_removed + place, mask=inside, other=0.0).to(tl.float32)
        along = tl.where(long, tl.sum(g_kk * kk, axis=1), 0.0)
        gz = (g_kk - kk * along[:, None]) / by[:, None]
        tl.store(dk + place, (g + g * weaken * (speed - 1.0) + gz * scale).to(dk.dtype.element_ty), mask=inside)
        tl.store(d_rate + place, (gb * kk + g * own * weaken).to(d_rate.dtype.element_ty), mask=inside)
        total_k += tl.sum(gz * own, axis=0)
        total_a += tl.sum(g * own * (speed - 1.0), axis=0)
    n = tl.arange(0, HEAD)
    at = sums + part * 2 * width + tl.program_id(1) * size + n
    tl.store(at, total_k, mask=n < size)
    tl.store(at + width, total_a, mask=n < size)


@_part
def _standard(y, place, inside, size, EPS: tl.constexpr):
    """Rows of y with mean 0 and variance 1, and what they were multiplied by."""
    own = tl.load(y + place, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, own - (tl.sum(own, axis=1) / size)[:, None], 0.0)
    by = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / size + EPS)
    return centred * by[:, None], by


@_loose
def read_out_forward(
    y, weight, bias, gate, bonus, out, rows, size, width,
    GATED: tl.constexpr, BONUS: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel, mine, place, inside = _head(row, rows, size, width, HEAD)
    standard, _ = _standard(y, place, inside, size, EPS)
    scale = tl.load(weight + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
    result = standard * scale + tl.load(bias + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
    if BONUS:
        result += tl.load(bonus + place, mask=inside, other=0.0).to(tl.float32)
    if GATED:
        result *= tl.load(gate + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + place, result.to(out.dtype.element_ty), mask=inside)


@_loose
def read_out_backward(
    y, weight, bias, gate, bonus, grad, dy, d_gate, d_bonus, sums, rows, turns, size, width,
    GATED: tl.constexpr, BONUS: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, HEAD: tl.constexpr,
):  # fmt: skip
    """sums: (parts, 2, C) float32, for weight and bias."""
    part = tl.program_id(0).to(tl.int64)
    total_w = tl.zeros((HEAD,), tl.float32)
    total_b = tl.zeros((HEAD,), tl.float32)
    for turn in range(turns):
        row = (part * turns + turn) * ROWS + tl.arange(0, ROWS)
        channel, mine, place, inside = _head(row, rows, size, width, HEAD)
        standard, by = _standard(y, place, inside, size, EPS)
        scale = tl.load(weight + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
        g = tl.load(grad + place, mask=inside, other=0.0).to(tl.float32)
        if GATED:
            result = standard * scale + tl.load(bias + channel, mask=mine, other=0.0).to(tl.float32)[None, :]
            if BONUS:
                result += tl.load(bonus + place, mask=inside, other=0.0).to(tl.float32)
            tl.store(d_gate + place, (g * result).to(d_gate.dtype.element_ty), mask=inside)
            g *= tl.load(gate + place, mask=inside, other=0.0).to(tl.float32)
        if BONUS:
            tl.store(d_bonus + place, g.to(d_bonus.dtype.element_ty), mask=inside)
        gs = g * scale
        mean, along = tl.sum(gs, axis=1) / size, tl.sum(gs * standard, axis=1) / size
        d_own = by[:, None] * (gs - mean[:, None] - standard * along[:, None])
        tl.store(dy + place, d_own.to(dy.dtype.element_ty), mask=inside)
        total_w += tl.sum(g * standard, axis=0)
        total_b += tl.sum(g, axis=0)
    n = tl.arange(0, HEAD)
    at = sums + part * 2 * width + tl.program_id(1) * size + n
    tl.store(at, total_w, mask=n < size)
    tl.store(at + width, total_b, mask=n < size)


@triton.jit
def squared_relu_forward(x, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    positive = tl.load(x + at, mask=at < count, other=0.0).to(tl.float32)
    # A comparison, not tl.maximum: a NaN must come through.
    positive = tl.where(positive < 0.0, 0.0, positive)
    tl.store(out + at, (positive * positive).to(out.dtype.element_ty), mask=at < count)


@triton.jit
def squared_relu_backward(x, grad, dx, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    positive = tl.load(x + at, mask=at < count, other=0.0).to(tl.float32)
    positive = tl.where(positive < 0.0, 0.0, positive)
    g = tl.load(grad + at, mask=at < count, other=0.0).to(tl.float32)
    tl.store(dx + at, (2.0 * positive * g).to(dx.dtype.element_ty), mask=at < count)


def compile_cases() -> Iterator[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    # What is read becomes float32 at once: only the mixes, where most is read, are compiled for both.
    yield from _mix_cases("bf16", ((6, 0, False), (5, 31, False), (6, 0, True), (5, 31, True)))
    yield from _mix_cases("fp32", ((6, 0, False), (6, 0, True)))
    yield from _head_cases()
    flat = {"x": "*bf16", "out": "*bf16", "count": "i64"}
    yield squared_relu_forward, flat, {"BLOCK": FLAT}, WARPS, "squared relu forward"
    flat = {"x": "*bf16", "grad": "*bf16", "dx": "*bf16", "count": "i64"}
    yield squared_relu_backward, flat, {"BLOCK": FLAT}, WARPS, "squared relu backward"


def _mix_cases(
    kind: str, forms: tuple[tuple[int, int, bool], ...]
) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    numbers = dict.fromkeys(("rows", "tokens", "width"), "i32")
    io = f"*{kind}"
    for count, wide, packed in forms:
        mixes, many = ("*fp32",) * count, (io,) * count
        tile = {"COUNT": count, "WIDE": wide, "PACKED": packed, "ROWS": ROWS, "BLOCK": CHANNELS}
        opens = "*i64" if packed else "*fp32"
        pointers: dict[str, Any] = {"x": io, "last": "*fp32", "opens": opens, "mixes": mixes}
        label = f"{count} mixes{' a token' if wide else ''}{' packed' if packed else ''}"
        yield shift_mix_forward, {**pointers, "outs": many, **numbers}, tile, WARPS, f"shift {label} forward {kind}"
        pointers = pointers | {"grads": many, "d_mixes": mixes, "dx": io, "d_last": "*fp32", "sums": "*fp32"}
        case = {**pointers, **numbers, "turns": "i32"}
        yield shift_mix_backward, case, {**tile, "LINES": tile_of(count)}, WARPS, f"shift {label} backward {kind}"


def _head_cases() -> Iterator[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    numbers = dict.fromkeys(("rows", "size", "width"), "i32")
    io = "*bf16"
    for size in (64, 128):
        tile: dict[str, Any] = {"ROWS": HEAD_ROWS, "HEAD": size}
        inputs = {"k": io, "rate": io, "k_k": "*fp32", "k_a": "*fp32"}
        case = {**inputs, **dict.fromkeys(("key", "removed", "back"), "*fp32"), **numbers}
        least = {"LEAST": LEAST_LENGTH, **tile}
        yield removal_key_forward, case, least, WARPS, f"removal key forward {size}"
        floats = dict.fromkeys(("g_key", "g_removed", "g_back", "sums"), "*fp32")
        case = {**inputs, **floats, "dk": io, "d_rate": io, **numbers, "turns": "i32"}
        yield removal_key_backward, case, least, WARPS, f"removal key backward {size}"
        inputs = {"y": io, "weight": "*fp32", "bias": "*fp32", "gate": io, "bonus": io}
        full = {"GATED": True, "BONUS": True, "EPS": GROUP_NORM_EPS, **tile}
        yield read_out_forward, {**inputs, "out": io, **numbers}, full, WARPS, f"read out forward {size}"
        own = dict.fromkeys(("grad", "dy", "d_gate", "d_bonus"), io)
        case = {**inputs, **own, "sums": "*fp32", **numbers, "turns": "i32"}
        yield read_out_backward, case, full, WARPS, f"read out backward {size}"


def tile_of(count: int) -> int:
    """The power of two from `count` on, as register tiles need it."""
    return 1 << (count - 1).bit_length()
