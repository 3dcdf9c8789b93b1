"""The Numba recurrences as torch operations with gradients, over the threads of a pool."""

from collections.abc import Callable, Iterable

from torch import Tensor, autograd, bfloat16, empty, empty_like, float32

from rwkv_music_kernels.cpu import wkv4, wkv6, wkv7
from rwkv_music_kernels.cpu.threads import HeadPool
from rwkv_music_kernels.cpu.vectors import LANES
from rwkv_music_kernels.packed import Sequences

# State entries to update, below which waking a thread costs more than it brings (some 100 us).
_MANY = 1_500_000
# What a channel of RWKV-4 costs, in state entries: most are exponentials.
_EXPONENTIALS = 16

# The task of a thread: ranges of heads, or strips, one after the other until none is left.
Task = Callable[[Iterable[tuple[int, int]]], None]


class Wkv4(autograd.Function):
    """`forward4` of k, v, w, u and the state, with gradients."""

    @staticmethod
    def forward(ctx, pool: HeadPool, where: Sequences, *tensors: Tensor):
        y, new_state, marks = forward4(pool, where, tensors, keep=True)
        ctx.pool, ctx.where = pool, where
        ctx.save_for_backward(*tensors, new_state, marks)
        return y, new_state

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        *given, new_state, marks = ctx.saved_tensors
        k, v, w, u, state = _four(given)
        dy, dnew = plain(grad_outputs[0].to(v.dtype)), plain(grad_outputs[1])
        width = v.shape[2]
        dk, dv, dstate = empty_like(k), empty_like(v), empty_like(state)
        dw, du = (empty((len(state), width), dtype=float32) for _ in range(2))

        def task(ranges: Iterable[tuple[int, int]]) -> None:
            room = empty(wkv4.backward_room(), dtype=float32)
            before = k.data_ptr(), v.data_ptr(), _half((k, v))
            outer = w, u, new_state, marks, dy, dnew, dk, dv, dw, du, state, dstate, room
            rest = _addresses((*outer, *_places(ctx.where)))
            for start, stop in ranges:
                wkv4.backward(*before, *rest, width, start, stop)

        _run(ctx.pool, task, len(state) * width // LANES, v.numel() * _EXPONENTIALS)
        gradients = dk, dv, dw.sum(0), du.sum(0), dstate
        return None, None, *(g.to(x.dtype) for g, x in zip(gradients, given, strict=True))


def forward4(
    pool: HeadPool, where: Sequences, tensors: tuple[Tensor, ...], *, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the new state, and for the backward pass the state before every chunk, if `keep`; of k, v, w, u, state."""
    k, v, w, u, state = _four(tensors)
    width = v.shape[2]
    y, new_state = empty_like(v), empty_like(state)
    marks = empty((where.room, 3, width) if keep else 0, dtype=float32)

    def task(ranges: Iterable[tuple[int, int]]) -> None:
        before = k.data_ptr(), v.data_ptr(), _half((k, v))
        rest = _addresses((w, u, state, y, new_state, marks, *_places(where)))
        for start, stop in ranges:
            wkv4.forward(*before, *rest, keep, width, start, stop)

    _run(pool, task, len(state) * width // LANES, v.numel() * _EXPONENTIALS)
    return y.to(tensors[1].dtype), new_state, marks


def _four(tensors: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    k, v, w, u, state = tensors
    return plain(k), plain(v), plain(w.float()), plain(u.float()), plain(state)


class Wkv6(autograd.Function):
    """`forward6` of r, k, v, w, u and the state, with gradients."""

    @staticmethod
    def forward(ctx, pool: HeadPool, where: Sequences, *tensors: Tensor):
        y, new_state, marks = forward6(pool, where, tensors, keep=True)
        ctx.pool, ctx.where = pool, where
        ctx.save_for_backward(*tensors[:5], marks)
        return y, new_state

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        *given, marks = ctx.saved_tensors
        inputs, u = [plain(x) for x in given[:4]], plain(given[4].float())
        dy, dnew = plain(grad_outputs[0].to(inputs[2].dtype)), plain(grad_outputs[1])
        heads, size = dy.shape[2:]
        gradients, dstate = [empty_like(x) for x in inputs], empty_like(dnew)
        du = empty((len(dnew), heads, size), dtype=float32)

        def task(ranges: Iterable[tuple[int, int]]) -> None:
            room = empty(wkv6.backward_room(size), dtype=float32)
            before = _addresses(inputs), _half(inputs), *_addresses((u, marks, dy, dnew))
            rest = _addresses(gradients), *_addresses((du, dstate, room, *_places(ctx.where)))
            for start, stop in ranges:
                wkv6.backward(*before, *rest, heads, size, start, stop)

        _run(ctx.pool, task, len(dnew) * heads, dy.numel() * size)
        found = (*(g.to(x.dtype) for g, x in zip(gradients, given, strict=False)), du.sum(0).to(given[4].dtype), dstate)
        return None, None, *found


def forward6(
    pool: HeadPool, where: Sequences, tensors: tuple[Tensor, ...], *, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the new state, and for the backward pass the state before every chunk, if `keep`; of r, k, v, w, u, state."""
    inputs, u, state = [plain(x) for x in tensors[:4]], plain(tensors[4].float()), plain(tensors[5])
    v = inputs[2]
    heads, size = v.shape[2:]
    y, new_state = empty_like(v), empty_like(state)
    marks = empty((where.room, heads, size, size) if keep else 0, dtype=float32)

    def task(ranges: Iterable[tuple[int, int]]) -> None:
        room = empty(wkv6.forward_room(size), dtype=float32)
        addresses = (
            _addresses(inputs),
            _half(inputs),
            *_addresses((u, state, y, new_state, marks, room, *_places(where))),
        )
        for start, stop in ranges:
            wkv6.forward(*addresses, keep, heads, size, start, stop)

    _run(pool, task, len(state) * heads, v.numel() * size)
    return y.to(tensors[2].dtype), new_state, marks


class Wkv7(autograd.Function):
    """`forward7` of r, w, k, v, a, b and the state, with gradients."""

    @staticmethod
    def forward(ctx, pool: HeadPool, where: Sequences, *tensors: Tensor):
        y, new_state, marks, moved = forward7(pool, where, tensors, keep=True)
        ctx.pool, ctx.where = pool, where
        ctx.save_for_backward(*tensors[:6], marks, moved)
        return y, new_state

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        *saved, marks, moved = ctx.saved_tensors
        dy, dnew = grad_outputs
        inputs = [plain(x) for x in saved]
        dy, dnew = plain(dy.to(inputs[3].dtype)), plain(dnew)
        gradients = [empty_like(x) for x in (*inputs, dnew)]
        heads, size = dy.shape[2:]

        # The task holds the tensors themselves, so that none is freed while a thread still writes to it.
        def task(ranges: Iterable[tuple[int, int]]) -> None:
            room = empty(wkv7.backward_room(size), dtype=float32)
            given = _addresses(inputs), _half(inputs), *_addresses((marks, moved, dy, dnew))
            wanted = _addresses(gradients[:6]), *_addresses((gradients[6], room, *_places(ctx.where)))
            for start, stop in ranges:
                wkv7.backward(*given, *wanted, heads, size, start, stop)

        _run(ctx.pool, task, len(dnew) * heads, dy.numel() * size)
        return None, None, *(g.to(x.dtype) for g, x in zip(gradients, (*saved, dnew), strict=True))


def forward7(
    pool: HeadPool, where: Sequences, tensors: tuple[Tensor, ...], *, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the new state, and for the backward pass the state before every chunk and each S a, if `keep`."""
    *inputs, state = [plain(x) for x in tensors]
    v = inputs[3]
    heads, size = v.shape[2:]
    y, new_state = empty_like(v), empty_like(state)
    marks = empty((where.room, heads, size, size) if keep else 0, dtype=float32)
    moved = empty(v.shape if keep else 0, dtype=float32)

    def task(ranges: Iterable[tuple[int, int]]) -> None:
        room = empty(wkv7.forward_room(size), dtype=float32)
        addresses = (
            _addresses(inputs),
            _half(inputs),
            *_addresses((state, y, new_state, marks, moved, room, *_places(where))),
        )
        for start, stop in ranges:
            wkv7.forward(*addresses, keep, heads, size, start, stop)

    _run(pool, task, len(state) * heads, v.numel() * size)
    return y.to(tensors[3].dtype), new_state, marks, moved


def _run(pool: HeadPool, task: Task, heads: int, entries: int) -> None:
    """entries: of all states that are updated, counted for every token."""
    if entries < _MANY:
        task([(0, heads)])
    else:
        pool.run(task, heads)


def _places(where: Sequences) -> tuple[Tensor, Tensor]:
    return where.ends, where.kept


def plain(x: Tensor) -> Tensor:
    """Contiguous, and float32 or bfloat16."""
    if x.dtype is not float32 and x.dtype is not bfloat16:
        x = x.float()
    return x if x.is_contiguous() else x.contiguous()


def _addresses(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    return tuple([x.data_ptr() for x in tensors])


def _half(inputs: Iterable[Tensor]) -> int:
    """A bit for each input, set where it is bfloat16."""
    return sum(1 << bit for bit, x in enumerate(inputs) if x.dtype is bfloat16)
