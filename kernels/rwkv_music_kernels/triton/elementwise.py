"""What surrounds the recurrences on GPUs: operators over the fused kernels, with their gradients, for torch.compile too."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
from torch import Tensor

from rwkv_music_kernels.contract import GROUP_NORM_EPS, KernelError, count_states
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.triton import fused
from rwkv_music_kernels.triton.sequences import launch, openings

# Mixes that one pass takes.
_MIXES = 6
# The most parts that a sum over tokens is kept in.
_PARTS = 512
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class TritonElementwise(PlainElementwise):
    """The elementwise half of `Kernels` in Triton, forward and backward, for float32, bfloat16 and float16."""

    def shift_mix(
        self, x: Tensor, last: Tensor, mixes: Sequence[Tensor], cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """See `Kernels.shift_mix`. Raises KernelError for shapes, dtypes or devices that it does not take."""
        pieces, tokens, width = _three(x, "x")
        _check({"x": (x, x.shape), "last": (last, (count_states(pieces, cu_seqlens), width))})
        for mix in mixes:
            _check({"x": (x, x.shape), "a mix": (mix, (width,) if mix.dim() == 1 else (pieces, tokens, width))})
        groups = [list(mixes[start : start + _MIXES]) for start in range(0, len(mixes), _MIXES)]
        opens = None if cu_seqlens is None else openings(cu_seqlens, tokens)
        return tuple(mixed for group in groups for mixed in _shift_mix(x, last, group, opens))

    def removal_key(
        self, k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Kernels.removal_key`. Raises KernelError like `shift_mix`."""
        *_, width = _three(k, "k")
        _check({"k": (k, k.shape), "rate": (rate, k.shape), "k_k": (k_k, (width,)), "k_a": (k_a, (width,))})
        if heads < 1 or width % heads:
            raise KernelError(f"{width} channels do not make {heads} heads of one size")
        return _removal_key(k, rate, k_k, k_a, heads)

    def read_out(
        self, y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None = None
    ) -> Tensor:
        """See `Kernels.read_out`. The result has the widest dtype of y, gate and bonus. Raises like `shift_mix`."""
        if y.dim() != 4:
            raise KernelError(f"y must have shape (B, T, H, N), not {tuple(y.shape)}")
        pieces, tokens, heads, size = y.shape
        width = heads * size
        _check({"y": (y, y.shape), "weight": (weight, (width,)), "bias": (bias, (width,))})
        if gate is not None:
            _check({"y": (y, y.shape), "gate": (gate, (pieces, tokens, width))})
        if bonus is not None:
            _check({"y": (y, y.shape), "bonus": (bonus, y.shape)})
        return _read_out(y, weight, bias, gate, bonus)

    def squared_relu(self, x: Tensor) -> Tensor:
        """See `Kernels.squared_relu`. Raises KernelError like `shift_mix`."""
        _check({"x": (x, x.shape)})
        return _squared_relu(x)


def _three(x: Tensor, name: str) -> tuple[int, int, int]:
    if x.dim() != 3:
        raise KernelError(f"{name} must have shape (B, T, C), not {tuple(x.shape)}")
    pieces, tokens, width = x.shape
    return pieces, tokens, width


def _check(named: dict[str, tuple[Tensor, Sequence[int]]]) -> None:
    """The first tensor sets the device."""
    (lead_name, (lead, _)), *_ = named.items()
    if lead.device.type == "cpu" and isinstance(fused.squared_relu_forward, triton.JITFunction):
        raise KernelError("the Triton kernels run on a GPU; tensors on the CPU go through the kernels called 'cpu'")
    for name, (x, shape) in named.items():
        if tuple(x.shape) != tuple(shape):
            raise KernelError(f"{name} must have shape {tuple(shape)}, not {tuple(x.shape)}")
        if x.dtype not in _FLOATS:
            raise KernelError(f"{name} must be float32, bfloat16 or float16, not {str(x.dtype).removeprefix('torch.')}")
        if x.device != lead.device:
            raise KernelError(f"{name} must be on {lead.device} like {lead_name}, not on {x.device}")


def _parts(rows: int, at_once: int) -> tuple[int, int]:
    """Into how many programs the rows are dealt, and how often each takes `at_once` of them; of `rows` alone."""
    turns = max(1, -(-rows // (at_once * _PARTS)))
    return -(-rows // (at_once * turns)), turns


def _wide(mixes: Sequence[Tensor]) -> int:
    return sum((mix.dim() > 1) << place for place, mix in enumerate(mixes))


@torch.library.custom_op(
    "rwkv_music::shift_mix",
    mutates_args=(),
    schema="(Tensor x, Tensor last, Tensor[] mixes, Tensor? opens) -> Tensor[]",
)
def _shift_mix(x: Tensor, last: Tensor, mixes: Sequence[Tensor], opens: Tensor | None) -> list[Tensor]:
    x, last, shares = x.contiguous(), last.contiguous(), tuple(mix.contiguous() for mix in mixes)
    outs = [torch.empty_like(x) for _ in mixes]
    if x.numel():
        width, rows = x.shape[2], x.shape[0] * x.shape[1]
        grid = (triton.cdiv(rows, fused.ROWS), triton.cdiv(width, fused.CHANNELS))
        tile = (len(mixes), _wide(mixes), opens is not None, fused.ROWS, fused.CHANNELS)
        tensors = (x, last, *_or_any(last, opens), shares, tuple(outs))
        launch(fused.shift_mix_forward, grid, *tensors, rows, x.shape[1], width, *tile, warps=fused.WARPS)
    return outs


@_shift_mix.register_fake
def _(x: Tensor, last: Tensor, mixes: Sequence[Tensor], opens: Tensor | None) -> list[Tensor]:
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in mixes]


@torch.library.custom_op(
    "rwkv_music::shift_mix_backward",
    mutates_args=(),
    schema="(Tensor x, Tensor last, Tensor[] mixes, Tensor? opens, Tensor[] grads) -> Tensor[]",
)
def _shift_mix_backward(
    x: Tensor, last: Tensor, mixes: Sequence[Tensor], opens: Tensor | None, grads: Sequence[Tensor]
) -> list[Tensor]:
    """The gradients in x, last and every mix."""
    x, last, shares = x.contiguous(), last.contiguous(), tuple(mix.contiguous() for mix in mixes)
    dx, d_last = torch.empty_like(x), torch.zeros_like(last)
    width, rows, count = x.shape[2], x.shape[0] * x.shape[1], len(mixes)
    parts, turns = _parts(rows, fused.ROWS)
    sums = x.new_empty((parts, count, width), dtype=torch.float32)
    # The kernel leaves alone what it is given for a mix of shape (C,); its gradient is in the sums.
    d_mixes = tuple(torch.empty_like(mix) if mix.dim() > 1 else dx for mix in shares)
    if x.numel():
        tile = (count, _wide(mixes), opens is not None, fused.tile_of(count), fused.ROWS, fused.CHANNELS)
        given = (x, last, *_or_any(last, opens), shares, tuple(grad.contiguous() for grad in grads))
        tensors = (*given, d_mixes, dx, d_last, sums)
        grid = (parts, triton.cdiv(width, fused.CHANNELS))
        launch(fused.shift_mix_backward, grid, *tensors, rows, x.shape[1], turns, width, *tile, warps=fused.WARPS)
    total = sums.sum(0)
    found = zip(mixes, d_mixes, total, strict=True)
    return [dx, d_last, *(own if mix.dim() > 1 else summed.to(mix.dtype, copy=True) for mix, own, summed in found)]


@_shift_mix_backward.register_fake
def _(x: Tensor, last: Tensor, mixes: Sequence[Tensor], opens: Tensor | None, grads: Sequence[Tensor]) -> list[Tensor]:
    return [torch.empty_like(given, memory_format=torch.contiguous_format) for given in (x, last, *mixes)]


def _keep_mix(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, last, mixes, opens = inputs
    ctx.save_for_backward(x, last, opens, *mixes)


def _unmix(ctx: Any, grads: list[Tensor | None]) -> tuple[Tensor, Tensor, list[Tensor], None]:
    x, last, opens, *mixes = ctx.saved_tensors
    given = [torch.zeros_like(x) if grad is None else grad for grad in grads]
    dx, d_last, *d_mixes = _shift_mix_backward(x, last, mixes, opens, given)
    return dx, d_last, d_mixes, None


_shift_mix.register_autograd(_unmix, setup_context=_keep_mix)


@torch.library.custom_op("rwkv_music::removal_key", mutates_args=())
def _removal_key(k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    k, rate, k_k, k_a = (x.contiguous() for x in (k, rate, k_k, k_a))
    key, removed, back = _three_heads(k, heads)
    if k.numel():
        rows, size, width = k.shape[0] * k.shape[1], k.shape[2] // heads, k.shape[2]
        tile = (fused.LEAST_LENGTH, fused.HEAD_ROWS, fused.tile_of(size))
        grid = (triton.cdiv(rows, fused.HEAD_ROWS), heads)
        tensors = (k, rate, k_k, k_a, key, removed, back)
        launch(fused.removal_key_forward, grid, *tensors, rows, size, width, *tile, warps=fused.WARPS)
    return key, removed, back


def _three_heads(k: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (k.shape[0], k.shape[1], heads, k.shape[2] // heads)
    key, removed, back = (k.new_empty(shape, dtype=torch.float32) for _ in range(3))
    return key, removed, back


@_removal_key.register_fake
def _(k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    return _three_heads(k, heads)


@torch.library.custom_op("rwkv_music::removal_key_backward", mutates_args=())
def _removal_key_backward(
    k: Tensor,
    rate: Tensor,
    k_k: Tensor,
    k_a: Tensor,
    heads: int,
    g_key: Tensor,
    g_removed: Tensor,
    g_back: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients in k, rate, k_k and k_a."""
    given = [x.contiguous() for x in (k, rate, k_k, k_a, g_key, g_removed, g_back)]
    dk, d_rate = torch.empty_like(given[0]), torch.empty_like(given[1])
    rows, size, width = k.shape[0] * k.shape[1], k.shape[2] // heads, k.shape[2]
    parts, turns = _parts(rows, fused.HEAD_ROWS)
    sums = k.new_empty((parts, 2, width), dtype=torch.float32)
    if k.numel():
        tile = (fused.LEAST_LENGTH, fused.HEAD_ROWS, fused.tile_of(size))
        tensors = (*given, dk, d_rate, sums)
        launch(fused.removal_key_backward, (parts, heads), *tensors, rows, turns, size, width, *tile, warps=fused.WARPS)
    d_kk, d_ka = sums.sum(0).unbind(0)
    return dk, d_rate, d_kk.to(k_k.dtype, copy=True), d_ka.to(k_a.dtype, copy=True)


@_removal_key_backward.register_fake
def _(k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int, g_key: Tensor, g_removed: Tensor, g_back: Tensor):
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (k, rate, k_k, k_a))


def _keep_key(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.heads = inputs
    ctx.save_for_backward(*tensors)


def _unkey(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    return (*_removal_key_backward(*ctx.saved_tensors, ctx.heads, *grads), None)


_removal_key.register_autograd(_unkey, setup_context=_keep_key)


@torch.library.custom_op("rwkv_music::read_out", mutates_args=())
def _read_out(y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None) -> Tensor:
    y, weight, bias = y.contiguous(), weight.contiguous(), bias.contiguous()
    out = _flat_like(y, gate, bonus)
    if y.numel():
        (rows, heads, size), tile = _heads_of(y, gate, bonus)
        grid = (triton.cdiv(rows, fused.HEAD_ROWS), heads)
        tensors = (y, weight, bias, *_or_any(y, gate, bonus), out)
        launch(fused.read_out_forward, grid, *tensors, rows, size, heads * size, *tile, warps=fused.WARPS)
    return out


def _flat_like(y: Tensor, gate: Tensor | None, bonus: Tensor | None) -> Tensor:
    kind = y.dtype
    for other in (gate, bonus):
        kind = kind if other is None else torch.promote_types(kind, other.dtype)
    return y.new_empty((y.shape[0], y.shape[1], y.shape[2] * y.shape[3]), dtype=kind)


def _or_any(y: Tensor, *given: Tensor | None) -> tuple[Tensor, ...]:
    """What is not there is never read, but a kernel wants a pointer."""
    return tuple(y if x is None else x.contiguous() for x in given)


def _heads_of(y: Tensor, gate: Tensor | None, bonus: Tensor | None) -> tuple[tuple[int, int, int], tuple[Any, ...]]:
    pieces, tokens, heads, size = y.shape
    tile = (gate is not None, bonus is not None, GROUP_NORM_EPS, fused.HEAD_ROWS, fused.tile_of(size))
    return (pieces * tokens, heads, size), tile


@_read_out.register_fake
def _(y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None) -> Tensor:
    return _flat_like(y, gate, bonus)


@torch.library.custom_op("rwkv_music::read_out_backward", mutates_args=())
def _read_out_backward(
    y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None, grad: Tensor
) -> list[Tensor]:
    """The gradients in y, weight and bias, then in gate and bonus, those that are there."""
    y, weight, bias = y.contiguous(), weight.contiguous(), bias.contiguous()
    dy = torch.empty_like(y)
    d_gate, d_bonus = (x if x is None else torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (gate, bonus))
    (rows, heads, size), tile = _heads_of(y, gate, bonus)
    parts, turns = _parts(rows, fused.HEAD_ROWS)
    sums = y.new_empty((parts, 2, heads * size), dtype=torch.float32)
    if y.numel():
        tensors = (y, weight, bias, *_or_any(y, gate, bonus), grad.contiguous(), dy, *_or_any(y, d_gate, d_bonus), sums)
        numbers = (rows, turns, size, heads * size)
        launch(fused.read_out_backward, (parts, heads), *tensors, *numbers, *tile, warps=fused.WARPS)
    d_weight, d_bias = sums.sum(0).unbind(0)
    own = [dy, d_weight.to(weight.dtype, copy=True), d_bias.to(bias.dtype, copy=True)]
    return own + [x for x in (d_gate, d_bonus) if x is not None]


@_read_out_backward.register_fake
def _(y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None, grad: Tensor):
    given = [x for x in (y, weight, bias, gate, bonus) if x is not None]
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in given]


def _keep_read(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _unread(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    y, weight, bias, gate, bonus = ctx.saved_tensors
    dy, d_weight, d_bias, *others = _read_out_backward(y, weight, bias, gate, bonus, grad)
    d_gate, d_bonus = (others.pop(0) if x is not None else None for x in (gate, bonus))
    return dy, d_weight, d_bias, d_gate, d_bonus


_read_out.register_autograd(_unread, setup_context=_keep_read)


@torch.library.custom_op("rwkv_music::squared_relu", mutates_args=())
def _squared_relu(x: Tensor) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    if x.numel():
        grid = (triton.cdiv(x.numel(), fused.FLAT),)
        launch(fused.squared_relu_forward, grid, x, out, x.numel(), fused.FLAT, warps=fused.WARPS)
    return out


@_squared_relu.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("rwkv_music::squared_relu_backward", mutates_args=())
def _squared_relu_backward(x: Tensor, grad: Tensor) -> Tensor:
    x, grad = x.contiguous(), grad.contiguous()
    dx = torch.empty_like(x)
    if x.numel():
        grid = (triton.cdiv(x.numel(), fused.FLAT),)
        launch(fused.squared_relu_backward, grid, x, grad, dx, x.numel(), fused.FLAT, warps=fused.WARPS)
    return dx


@_squared_relu_backward.register_fake
def _(x: Tensor, grad: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _keep_x(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _unsquare(ctx: Any, grad: Tensor) -> Tensor:
    return _squared_relu_backward(ctx.saved_tensors[0], grad)


_squared_relu.register_autograd(_unsquare, setup_context=_keep_x)
