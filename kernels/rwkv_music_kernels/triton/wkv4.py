"""RWKV-4's recurrence in Triton, forward and backward: a program is one sequence and some of its channels."""

from collections.abc import Iterator
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from rwkv_music_kernels.packed import Sequences
from rwkv_music_kernels.triton.sequences import launch

CHANNELS = 64


@triton.jit
def forward_kernel(
    k, v, w, u, state, y, new_state, kept, ends, width, keep: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """y and the new state; with `keep` also the three sums before every token, kept (T, 3, C)."""
    sequence = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < width
    own = state + sequence * 3 * width + c
    above = tl.load(own, mask=inside, other=0.0)
    below = tl.load(own + width, mask=inside, other=0.0)
    top = tl.load(own + 2 * width, mask=inside, other=0.0)
    w_c = tl.load(w + c, mask=inside, other=0.0).to(tl.float32)
    u_c = tl.load(u + c, mask=inside, other=0.0).to(tl.float32)
    for t in range(tl.load(ends + sequence), tl.load(ends + sequence + 1)):
        if keep:
            tl.store(kept + t * 3 * width + c, above, mask=inside)
            tl.store(kept + (t * 3 + 1) * width + c, below, mask=inside)
            tl.store(kept + (t * 3 + 2) * width + c, top, mask=inside)
        k_t = tl.load(k + t * width + c, mask=inside, other=0.0).to(tl.float32)
        v_t = tl.load(v + t * width + c, mask=inside, other=0.0).to(tl.float32)
        q = tl.maximum(top, u_c + k_t)
        old, new = tl.exp(top - q), tl.exp(u_c + k_t - q)
        y_t = (old * above + new * v_t) / (old * below + new)
        tl.store(y + t * width + c, y_t.to(y.dtype.element_ty), mask=inside)
        q = tl.maximum(top + w_c, k_t)
        old, new = tl.exp(top + w_c - q), tl.exp(k_t - q)
        above, below, top = old * above + new * v_t, old * below + new, q
    own = new_state + sequence * 3 * width + c
    tl.store(own, above, mask=inside)
    tl.store(own + width, below, mask=inside)
    tl.store(own + 2 * width, top, mask=inside)


@triton.jit
def backward_kernel(
    k, v, w, u, kept, last, dy, dnew, dk, dv, dw, du, dstate, ends, width, CHANNELS: tl.constexpr
):  # fmt: skip
    """The gradients, from the last token to the first; last: the new state, (S, 3, C).

    g_above and g_below are the gradients in the sums themselves, scaled like the sums by exp(top); what the loss holds
    of `top` beyond that goes to the exponent that won.
    """
    sequence = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    inside = c < width
    w_c = tl.load(w + c, mask=inside, other=0.0).to(tl.float32)
    u_c = tl.load(u + c, mask=inside, other=0.0).to(tl.float32)
    own, end = dnew + sequence * 3 * width + c, last + sequence * 3 * width + c
    g_above = tl.load(own, mask=inside, other=0.0)
    g_below = tl.load(own + width, mask=inside, other=0.0)
    top_after = tl.load(end + 2 * width, mask=inside, other=0.0)
    rest = tl.load(own + 2 * width, mask=inside, other=0.0)
    rest -= g_above * tl.load(end, mask=inside, other=0.0) + g_below * tl.load(end + width, mask=inside, other=0.0)
    dw_c, du_c = tl.zeros((CHANNELS,), tl.float32), tl.zeros((CHANNELS,), tl.float32)
    start, stop = tl.load(ends + sequence), tl.load(ends + sequence + 1)
    for back in range(stop - start):
        t = stop - 1 - back
        above = tl.load(kept + t * 3 * width + c, mask=inside, other=0.0)
        below = tl.load(kept + (t * 3 + 1) * width + c, mask=inside, other=0.0)
        top = tl.load(kept + (t * 3 + 2) * width + c, mask=inside, other=0.0)
        k_t = tl.load(k + t * width + c, mask=inside, other=0.0).to(tl.float32)
        v_t = tl.load(v + t * width + c, mask=inside, other=0.0).to(tl.float32)
        dy_t = tl.load(dy + t * width + c, mask=inside, other=0.0).to(tl.float32)
        old, new = tl.exp(top + w_c - top_after), tl.exp(k_t - top_after)
        dv_t, dk_t = g_above * new, new * (g_above * v_t + g_below)
        faded = old * (g_above * above + g_below * below)
        g_above, g_below = g_above * old, g_below * old
        # Where both exponents are equal each takes half, as torch.maximum has it.
        won = tl.where(top + w_c > k_t, 1.0, tl.where(top + w_c == k_t, 0.5, 0.0))
        dk_t += rest * (1.0 - won)
        rest = rest * won
        dw_c += faded + rest
        q = tl.maximum(top, u_c + k_t)
        old, new = tl.exp(top - q), tl.exp(u_c + k_t - q)
        share = dy_t / (old * below + new)
        y_t = (old * above + new * v_t) / (old * below + new)
        g_above += old * share
        g_below -= old * share * y_t
        bonus = new * share * (v_t - y_t)
        tl.store(dv + t * width + c, dv_t + new * share, mask=inside)
        tl.store(dk + t * width + c, dk_t + bonus, mask=inside)
        du_c += bonus
        top_after = top
    own, begin = dstate + sequence * 3 * width + c, kept + start * 3 * width + c
    filled = inside & (stop > start)
    first_above = tl.load(tl.where(stop > start, begin, end), mask=inside, other=0.0)
    first_below = tl.load(tl.where(stop > start, begin, end) + width, mask=inside, other=0.0)
    tl.store(own, g_above, mask=inside)
    tl.store(own + width, g_below, mask=inside)
    tl.store(own + 2 * width, rest + g_above * first_above + g_below * first_below, mask=inside)
    tl.store(dw + sequence * width + c, tl.where(filled, dw_c, 0.0), mask=inside)
    tl.store(du + sequence * width + c, tl.where(filled, du_c, 0.0), mask=inside)


@torch.library.custom_op("rwkv_music::wkv4", mutates_args=())
def wkv4(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, ends: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the new state, and what is kept for the backward pass. k, v contiguous, (…, C)."""
    width = k.shape[-1]
    y, new_state = torch.empty_like(v), torch.empty_like(state)
    kept = state.new_empty((k.numel() // width if keep else 0, 3, width))
    grid = (state.shape[0], triton.cdiv(width, CHANNELS))
    launch(forward_kernel, grid, k, v, w, u, state, y, new_state, kept, ends, width, keep, CHANNELS, warps=2)
    return y, new_state, kept


@wkv4.register_fake
def _(k, v, w, u, state, ends, keep):
    width = k.shape[-1]
    kept = state.new_empty((k.numel() // width if keep else 0, 3, width))
    return torch.empty_like(v), torch.empty_like(state), kept


@torch.library.custom_op("rwkv_music::wkv4_backward", mutates_args=())
def wkv4_backward(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, kept: Tensor, last: Tensor, ends: Tensor, dy: Tensor, dnew: Tensor
) -> list[Tensor]:
    """The gradients in k, v, w, u and the state, float32."""
    width = k.shape[-1]
    dk, dv = torch.empty_like(k, dtype=torch.float32), torch.empty_like(v, dtype=torch.float32)
    dw, du = dnew.new_empty((dnew.shape[0], width)), dnew.new_empty((dnew.shape[0], width))
    dstate = torch.empty_like(dnew)
    grid = (dnew.shape[0], triton.cdiv(width, CHANNELS))
    launch(
        backward_kernel, grid, k, v, w, u, kept, last, dy, dnew, dk, dv, dw, du, dstate, ends, width, CHANNELS, warps=2
    )
    return [dk, dv, dw.sum(0), du.sum(0), dstate]


@wkv4_backward.register_fake
def _(k, v, w, u, kept, last, ends, dy, dnew):
    return [torch.empty_like(x, dtype=torch.float32) for x in (k, v, w, u)] + [torch.empty_like(dnew)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:4], output[2], output[1], inputs[5])
    ctx.set_materialize_grads(True)


def _backward(ctx: Any, dy: Tensor, dnew: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, kept, last, ends = ctx.saved_tensors
    found = wkv4_backward(*inputs, kept, last, ends, dy.contiguous(), dnew.contiguous())
    return (*(g.to(x.dtype) for g, x in zip(found, inputs, strict=False)), found[4], None, None)


wkv4.register_autograd(_backward, setup_context=_save)


def run(tensors: list[Tensor], state: Tensor, where: Sequences, keep: bool) -> tuple[Tensor, Tensor]:
    """y and the new state of checked tensors k, v (B, T, C), w and u (C)."""
    y, new_state, _ = wkv4(*(x.contiguous() for x in tensors), state.contiguous(), where.ends, keep)
    return y, new_state


def compile_cases() -> Iterator[tuple[Any, dict[str, str], dict[str, Any], int, str]]:
    """(kernel, signature, constants, warps, label) of what a model meets."""
    for kind in ("bf16", "fp32"):
        inputs = {"k": f"*{kind}", "v": f"*{kind}", "w": "*fp32", "u": "*fp32"}
        places = {"ends": "*i64", "width": "i32"}
        forward = {**inputs, "y": f"*{kind}", **dict.fromkeys(("state", "new_state", "kept"), "*fp32"), **places}
        yield forward_kernel, forward, {"keep": True, "CHANNELS": CHANNELS}, 2, f"wkv4 forward {kind}"
        floats = ("kept", "last", "dnew", "dk", "dv", "dw", "du", "dstate")
        backward = {**inputs, "dy": f"*{kind}", **dict.fromkeys(floats, "*fp32"), **places}
        yield backward_kernel, backward, {"CHANNELS": CHANNELS}, 2, f"wkv4 backward {kind}"
