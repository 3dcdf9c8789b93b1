"""What every backend of the RWKV recurrences promises: letters, shapes, dtypes and the checks they share.

Glossary
    B  pieces in the batch
    T  tokens
    H  heads
    N  channels of a head
    C  channels of the model, C = H N
    S  documents in a packed batch

Packed documents. With `cu_seqlens`, an int64 (S + 1,) that starts at 0, never falls and ends at T, the batch is one row
of S documents one behind the other: B is 1, document s is tokens cu_seqlens[s] to cu_seqlens[s + 1] and begins from
state[s]; states have S rows where B is said. A document may be empty; its state comes back as it was.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, float16, float32, float64, int64
from torch import bfloat16 as bf16

# The least log decay RWKV-7 can make, -exp(-1/2): its decay is exp(-exp(-1/2) sigmoid(x)).
LEAST_LOG_DECAY = -0.6065306597126334
# GroupNorm's epsilon: training divides by 8 (sqrt 64) before a norm of 1e-5.
GROUP_NORM_EPS = 64e-5
# What RWKV-4 takes for the logarithm of nothing.
NO_LOGARITHM = -1e30

_SINGLE = (float32, bf16, float16)


class KernelError(ValueError):
    """Tensors that break the contract of a kernel, or a backend that cannot run here."""


class Kernels(Protocol):
    """One backend of the recurrences, chosen once when an engine is made.

    Inputs may be float32, bfloat16 or float16, mixed; states and all sums are float32. Where everything is float64, a
    backend that takes float64 keeps it throughout. Everything is differentiable in all its tensors, also through the
    new state. Raises KernelError for shapes, dtypes or devices that break the contract.
    """

    name: str

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The weighted mean of the values so far, newest with bonus u, older ones fading by exp w (RWKV-4, 2305.13048).

        k, v: (B, T, C). w: (C,), the LOG decay, -exp(time_decay) < 0. u: (C,).
        state: (B, 3, C), float32, left untouched: sums of e^(k - p) v and of e^(k - p), and p, the largest exponent so
        far (NO_LOGARITHM before the first token). Returns y like v, and the new state.
        """
        ...

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """y = (S + v (u k)^T) r, then S <- S diag(exp w) + v k^T, for each token and head (RWKV-5 and 6, 2404.05892).

        r, k, v, w: (B, T, H, N); w is the LOG decay, -exp(x) <= 0, not bounded below; RWKV-5 expands its fixed one.
        u: (H, N). state: (B, H, N, N) as [value, key], float32, left untouched. Returns y like v, and the new state.
        """
        ...

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
        """S <- S diag(exp w) + (S a) b^T + v k^T, then y = S r, for each token and head (RWKV-7, arXiv 2503.14456).

        r, w, k, v, a, b: (B, T, H, N); w is the LOG decay, LEAST_LOG_DECAY <= w <= 0, which is the caller's promise and
        not checked. state: (B, H, N, N) as [value, key], float32, left untouched. Returns y like v, and the new state.
        """
        ...

    def shift_mix(
        self, x: Tensor, last: Tensor, mixes: Sequence[Tensor], cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """x + (x_before - x) m for every m: each token blended with the one before it.

        x: (B, T, C); last: (B, C), the token before the first; mixes: each (C,) or (B, T, C), the share of the token
        before. With packed documents last is (S, C), the token before the first of each. Returns one tensor like x for
        each.
        """
        ...

    def removal_key(
        self, k: Tensor, rate: Tensor, k_k: Tensor, k_a: Tensor, heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """RWKV-7's key, and what it removes: k (1 + (rate - 1) k_a), -kk and kk rate; kk = k k_k, length 1 a head.

        k, rate: (B, T, C); k_k, k_a: (C,). Returns three (B, T, H, N), float32 (float64 from float64).
        """
        ...

    def read_out(
        self, y: Tensor, weight: Tensor, bias: Tensor, gate: Tensor | None, bonus: Tensor | None = None
    ) -> Tensor:
        """(GroupNorm(y) + bonus) gate, one group a head.

        y, bonus: (B, T, H, N); weight, bias: (C,); gate: (B, T, C). Returns (B, T, C); no gate is a gate of 1.
        """
        ...

    def squared_relu(self, x: Tensor) -> Tensor:
        """max(x, 0)^2, shaped and typed like x."""
        ...

    def linear(self, x: Tensor, weight: Tensor) -> Tensor:
        """x W^T, computed in the dtype of W. x: (B, T, K), weight: (M, K) with any strides. Returns (B, T, M)."""
        ...

    def bonus(self, r: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        """What RWKV-7 adds for the token itself: (sum over the head of r k weight) v.

        r, k, v: (B, T, H, N), weight: (H, N). Returns (B, T, H, N).
        """
        ...


def check_wkv4(
    k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
) -> tuple[int, int, int]:
    """(B, T, C) of tensors that keep the contract of `Kernels.wkv4`.

    Raises KernelError with the rule and the tensor that broke it.
    """
    if k.dim() != 3:
        raise KernelError(f"k must have shape (B, T, C), not {tuple(k.shape)}")
    pieces, tokens, width = k.shape
    shapes = {"k": (k, k.shape), "v": (v, k.shape), "w": (w, (width,)), "u": (u, (width,))}
    _check_inputs(shapes)
    _check_state(state, (3, width), k, pieces, tokens, cu_seqlens)
    return pieces, tokens, width


def check_wkv6(
    r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
) -> tuple[int, int, int, int]:
    """(B, T, H, N) of tensors that keep the contract of `Kernels.wkv6`. Raises KernelError like `check_wkv4`."""
    pieces, tokens, heads, size = _four(r)
    shapes = {name: (x, r.shape) for name, x in (("r", r), ("k", k), ("v", v), ("w", w))}
    _check_inputs({**shapes, "u": (u, (heads, size))})
    _check_state(state, (heads, size, size), r, pieces, tokens, cu_seqlens)
    return pieces, tokens, heads, size


def check_wkv7(
    r: Tensor,
    w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor,
    cu_seqlens: Tensor | None = None,
) -> tuple[int, int, int, int]:
    """(B, T, H, N) of tensors that keep the contract of `Kernels.wkv7`. Raises KernelError like `check_wkv4`."""
    pieces, tokens, heads, size = _four(r)
    named = (("r", r), ("w", w), ("k", k), ("v", v), ("a", a), ("b", b))
    _check_inputs({name: (x, r.shape) for name, x in named})
    _check_state(state, (heads, size, size), r, pieces, tokens, cu_seqlens)
    return pieces, tokens, heads, size


def _four(r: Tensor) -> tuple[int, int, int, int]:
    if r.dim() != 4:
        raise KernelError(f"r must have shape (B, T, H, N), not {tuple(r.shape)}")
    pieces, tokens, heads, size = r.shape
    return pieces, tokens, heads, size


def _check_inputs(shapes: dict[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    """The first tensor sets dtype family and device."""
    (lead_name, (lead, _)), *_ = shapes.items()
    double = lead.dtype == float64
    allowed = (float64,) if double else _SINGLE
    for name, (x, shape) in shapes.items():
        if tuple(x.shape) != tuple(shape):
            like = f"be shaped like {lead_name}, " if len(shape) == lead.dim() else "have shape "
            raise KernelError(f"{name} must {like}{tuple(shape)}, not {tuple(x.shape)}")
        if x.dtype not in allowed:
            raise KernelError(f"{name} must be {_spoken(double)} where {lead_name} is {lead.dtype}, not {x.dtype}")
        if x.device != lead.device:
            raise KernelError(f"{name} must be on {lead.device} like {lead_name}, not on {x.device}")


def check_shift(x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> None:
    """Raises KernelError where x, last and cu_seqlens break the contract of `Kernels.shift_mix`."""
    if x.dim() != 3:
        raise KernelError(f"x must have shape (B, T, C), not {tuple(x.shape)}")
    shape = (count_states(x.shape[0], cu_seqlens), x.shape[2])
    if tuple(last.shape) != shape:
        raise KernelError(f"last must have shape {shape}, not {tuple(last.shape)}")


def count_states(pieces: int, cu_seqlens: Tensor | None) -> int:
    """How many rows a state has: B, or with packed documents S. Raises KernelError for a cu_seqlens that is none."""
    if cu_seqlens is None:
        return pieces
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 2 or cu_seqlens.dtype != int64:
        raise KernelError(f"cu_seqlens must be int64 of shape (S + 1,), not {cu_seqlens.dtype} {cu_seqlens.shape}")
    if pieces != 1:
        raise KernelError(f"packed documents lie in one row, B = 1, not {pieces}")
    return cu_seqlens.numel() - 1


def _check_state(
    state: Tensor, each: tuple[int, ...], lead: Tensor, pieces: int, tokens: int, cu_seqlens: Tensor | None
) -> None:
    pieces = count_states(pieces, cu_seqlens)
    kind = float64 if lead.dtype == float64 else float32
    if tuple(state.shape) != (pieces, *each):
        raise KernelError(f"state must have shape {(pieces, *each)}, not {tuple(state.shape)}")
    if state.dtype != kind:
        raise KernelError(f"state must be {_plain(kind)} where the inputs are {lead.dtype}, not {state.dtype}")
    if state.device != lead.device:
        raise KernelError(f"state must be on {lead.device} like the inputs, not on {state.device}")


def _spoken(double: bool) -> str:
    return "float64" if double else "float32, bfloat16 or float16"


def _plain(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")
