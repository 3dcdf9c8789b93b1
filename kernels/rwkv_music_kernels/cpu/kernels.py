"""`CpuKernels`: the Numba loops behind the contract, as torch operations with gradients."""

from numpy import ndarray
from torch import Tensor, autograd, empty, empty_like, float32, float64, is_grad_enabled

from rwkv_music_kernels.contract import KernelError, Kernels, check_wkv7
from rwkv_music_kernels.cpu import wkv7
from rwkv_music_kernels.cpu.threads import Heads
from rwkv_music_kernels.cpu.vectors import LANES


class CpuKernels(Kernels):
    """Numba on the CPU, float32 inside whatever comes in."""

    name = "cpu"

    def __init__(self) -> None:
        self._heads = Heads()

    def wkv7(
        self, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv7`. Takes no float64, and N must be a multiple of LANES."""
        size = check_wkv7(r, w, k, v, a, b, state)[3]
        if r.device.type != "cpu":
            raise KernelError(f"the kernels 'cpu' run on the CPU, not on {r.device}; choose 'chunked'")
        if r.dtype == float64:
            raise KernelError("the kernels 'cpu' count in float32; choose 'reference' or 'chunked' for float64")
        if size % LANES:
            raise KernelError(f"the kernels 'cpu' take heads of a multiple of {LANES} channels, not {size}")
        tensors = (r, w, k, v, a, b, state)
        if is_grad_enabled() and any([x.requires_grad for x in tensors]):
            return _Wkv7.apply(self._heads, *tensors)  # pyright: ignore[reportReturnType]
        y, new_state, _, _ = _forward(self._heads, tensors, keep=False)
        return y, new_state


class _Wkv7(autograd.Function):
    @staticmethod
    def forward(ctx, heads: Heads, *tensors: Tensor):
        y, new_state, marks, moved = _forward(heads, tensors, keep=True)
        ctx.heads = heads
        ctx.save_for_backward(*tensors[:6], marks, moved)
        return y, new_state

    @staticmethod
    @autograd.function.once_differentiable
    def backward(ctx, dy: Tensor, dnew: Tensor):
        *inputs, marks, moved = ctx.saved_tensors
        shape = inputs[0].shape
        r, w, k, v, a, b, dy = (_plain(x) for x in (*inputs, dy))
        gradients = [empty(shape, dtype=float32) for _ in inputs] + [empty_like(dnew)]
        arrays = [_flat(x) for x in (r, w.exp(), k, v, a, b, marks, moved, dy, _plain(dnew), *gradients)]
        _, tokens, heads, size = shape

        def task(head: int) -> None:
            wkv7.backward(*arrays, tokens, heads, size, head)

        ctx.heads.run(task, shape[0] * heads)
        return None, *(g.to(x.dtype) for g, x in zip(gradients, (*inputs, dnew), strict=True))


def _forward(heads_of: Heads, tensors: tuple[Tensor, ...], *, keep: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the new state, and for the backward pass the states before every MARK-th token and each S a, if `keep`."""
    r, w, k, v, a, b, state = (_plain(x) for x in tensors)
    pieces, tokens, heads, size = r.shape
    chunks = -(-tokens // wkv7.MARK)
    y, new_state = empty(r.shape, dtype=float32), empty(state.shape, dtype=float32)
    marks = empty((pieces, heads, chunks, size, size) if keep else 0, dtype=float32)
    moved = empty(r.shape if keep else 0, dtype=float32)
    arrays = [_flat(x) for x in (r, w.exp(), k, v, a, b, state, y, new_state, marks, moved)]

    def task(head: int) -> None:
        wkv7.forward(*arrays, keep, tokens, heads, size, head)

    heads_of.run(task, pieces * heads)
    return y.to(tensors[3].dtype), new_state, marks, moved


def _plain(x: Tensor) -> Tensor:
    return x.detach().to(float32).contiguous()


def _flat(x: Tensor) -> ndarray:
    return x.view(-1).numpy()
