"""What every backend of the RWKV recurrences promises: letters, shapes, dtypes and the check they share.

Glossary
    B  pieces in the batch
    T  tokens
    H  heads
    N  channels of a head
    C  channels of the model, C = H N
"""

from typing import Protocol

from torch import Tensor, float16, float32, float64
from torch import bfloat16 as bf16

# The least log decay RWKV-7 can make, -exp(-1/2): its decay is exp(-exp(-1/2) sigmoid(x)).
LEAST_LOG_DECAY = -0.6065306597126334

_SINGLE = (float32, bf16, float16)


class KernelError(ValueError):
    """Tensors that break the contract of a kernel, or a backend that cannot run here."""


class Kernels(Protocol):
    """One backend of the recurrences, chosen once when an engine is made."""

    name: str

    def wkv7(
        self, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """S <- S diag(exp w) + (S a) b^T + v k^T, then y = S r, for each token and head (RWKV-7, arXiv 2503.14456).

        r, w, k, v, a, b: (B, T, H, N), any float dtypes, any T >= 0; w is the LOG decay, LEAST_LOG_DECAY <= w <= 0.
        state: (B, H, N, N) as [value, key], float32, left untouched.
        Returns y, shaped and typed like v, and the new state, float32. All sums are float32; where all seven are
        float64, a backend that takes float64 keeps it throughout. Differentiable in all seven, also through the
        new state. The bounds of w are the caller's promise and are not checked.
        Raises KernelError for shapes, dtypes or devices that break this.
        """
        ...


def check_wkv7(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[int, int, int, int]:
    """(B, T, H, N) of tensors that keep the contract of `Kernels.wkv7`.

    Raises KernelError with the rule and the tensor that broke it.
    """
    shape, device = r.shape, r.device
    if len(shape) != 4:
        raise KernelError(f"r must have shape (B, T, H, N), not {tuple(shape)}")
    double = r.dtype == float64
    allowed = (float64,) if double else _SINGLE
    for name, x in (("r", r), ("w", w), ("k", k), ("v", v), ("a", a), ("b", b)):
        if x.shape != shape:
            raise KernelError(f"{name} must be shaped like r, {tuple(shape)}, not {tuple(x.shape)}")
        if x.dtype not in allowed:
            raise KernelError(f"{name} must be {_spoken(double)} where r is {r.dtype}, not {x.dtype}")
        if x.device != device:
            raise KernelError(f"{name} must be on {device} like r, not on {x.device}")
    pieces, tokens, heads, size = shape
    if state.shape != (pieces, heads, size, size):
        raise KernelError(f"state must have shape {(pieces, heads, size, size)}, not {tuple(state.shape)}")
    if state.dtype != (float64 if double else float32):
        raise KernelError(f"state must be {'float64' if double else 'float32'} where r is {r.dtype}, not {state.dtype}")
    if state.device != device:
        raise KernelError(f"state must be on {device} like r, not on {state.device}")
    return pieces, tokens, heads, size


def _spoken(double: bool) -> str:
    return "float64" if double else "float32, bfloat16 or float16"
