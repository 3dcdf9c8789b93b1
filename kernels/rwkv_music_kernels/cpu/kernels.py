"""`CpuKernels`: the Numba loops behind the contract, as torch operations with gradients."""

from collections.abc import Callable, Iterable

from torch import Tensor, autograd, bfloat16, empty, empty_like, float32, float64, is_grad_enabled

from rwkv_music_kernels.contract import KernelError, check_wkv7
from rwkv_music_kernels.cpu import wkv7
from rwkv_music_kernels.cpu.threads import HeadPool
from rwkv_music_kernels.cpu.vectors import LANES
from rwkv_music_kernels.packed import each_document
from rwkv_music_kernels.reference import ReferenceKernels

# State entries to update, below which waking a thread costs more than it brings (some 100 us).
_MANY = 1_500_000


class CpuKernels(ReferenceKernels):
    """Numba on the CPU, float32 inside whatever comes in."""

    name = "cpu"

    def __init__(self) -> None:
        self._pool = HeadPool()

    def wkv7(
        self,
        r: Tensor,
        w: Tensor,
        k: Tensor,
        v: Tensor,
        a: Tensor,
        b: Tensor,
        state: Tensor,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv7`. Takes no float64, and N must be a multiple of LANES."""
        size = check_wkv7(r, w, k, v, a, b, state, cu_seqlens)[3]
        if r.device.type != "cpu":
            raise KernelError(f"the kernels 'cpu' run on the CPU, not on {r.device}; choose 'torch'")
        if r.dtype == float64:
            raise KernelError("the kernels 'cpu' count in float32; choose 'reference' or 'torch' for float64")
        if size % LANES:
            raise KernelError(f"the kernels 'cpu' take heads of a multiple of {LANES} channels, not {size}")
        if cu_seqlens is not None:
            return each_document(self._wkv7, (r, w, k, v, a, b), state, cu_seqlens)
        return self._wkv7(r, w, k, v, a, b, state)

    def _wkv7(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        if is_grad_enabled() and any(x.requires_grad for x in tensors):
            return _Wkv7.apply(self._pool, *tensors)  # pyright: ignore[reportReturnType]
        y, new_state, _, _ = _forward(self._pool, tensors, keep=False)
        return y, new_state


class _Wkv7(autograd.Function):
    @staticmethod
    def forward(ctx, pool: HeadPool, *tensors: Tensor):
        y, new_state, marks, moved = _forward(pool, tensors, keep=True)
        ctx.pool = pool
        ctx.save_for_backward(*tensors[:6], marks, moved)
        return y, new_state

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, *grad_outputs: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        *saved, marks, moved = ctx.saved_tensors
        dy, dnew = grad_outputs
        inputs = [_plain(x) for x in saved]
        dy, dnew = _plain(dy.to(inputs[3].dtype)), _plain(dnew)
        gradients = [empty_like(x) for x in (*inputs, dnew)]
        pieces, tokens, heads, size = dy.shape

        # The task holds the tensors themselves, so that none is freed while a thread still writes to it.
        def task(ranges: Iterable[tuple[int, int]]) -> None:
            room = empty(wkv7.backward_room(size), dtype=float32)
            given = _addresses(inputs), _half(inputs), *_addresses((marks, moved, dy, dnew))
            wanted = _addresses(gradients[:6]), *_addresses((gradients[6], room))
            for start, stop in ranges:
                wkv7.backward(*given, *wanted, tokens, heads, size, start, stop)

        _run(ctx.pool, task, pieces * heads, tokens * size * size)
        return None, *(g.to(x.dtype) for g, x in zip(gradients, (*saved, dnew), strict=True))


def _forward(pool: HeadPool, tensors: tuple[Tensor, ...], *, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the new state, and for the backward pass the state before every chunk and each S a, if `keep`."""
    *inputs, state = [_plain(x) for x in tensors]
    v = inputs[3]
    pieces, tokens, heads, size = v.shape
    y, new_state = empty_like(v), empty_like(state)
    marks = empty((pieces, heads, -(-tokens // wkv7.CHUNK), size, size) if keep else 0, dtype=float32)
    moved = empty(v.shape if keep else 0, dtype=float32)

    def task(ranges: Iterable[tuple[int, int]]) -> None:
        room = empty(wkv7.forward_room(size), dtype=float32)
        addresses = _addresses(inputs), _half(inputs), *_addresses((state, y, new_state, marks, moved, room))
        for start, stop in ranges:
            wkv7.forward(*addresses, keep, tokens, heads, size, start, stop)

    _run(pool, task, pieces * heads, tokens * size * size)
    return y.to(tensors[3].dtype), new_state, marks, moved


def _run(pool: HeadPool, task: Callable[[Iterable[tuple[int, int]]], None], heads: int, entries: int) -> None:
    if heads * entries < _MANY:
        task([(0, heads)])
    else:
        pool.run(task, heads)


def _plain(x: Tensor) -> Tensor:
    """Contiguous, and float32 or bfloat16."""
    if x.dtype is not float32 and x.dtype is not bfloat16:
        x = x.float()
    return x if x.is_contiguous() else x.contiguous()


def _addresses(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    return tuple([x.data_ptr() for x in tensors])


def _half(inputs: list[Tensor]) -> int:
    """A bit for each input, set where it is bfloat16."""
    return sum(1 << bit for bit, x in enumerate(inputs) if x.dtype is bfloat16)
