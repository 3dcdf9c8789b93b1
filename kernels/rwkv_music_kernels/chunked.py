"""The recurrences in plain torch, a chunk of tokens at a time: the backend for every device without its own kernels."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from rwkv_music_kernels.contract import KernelError, check_wkv6, check_wkv7
from rwkv_music_kernels.packed import each_document
from rwkv_music_kernels.reference import ReferenceKernels, wkv6_steps, wkv7_steps

# Below this many tokens the plain loop starts fewer torch operations.
_FEW_TOKENS = 4


class ChunkedKernels(ReferenceKernels):
    """Matrix products inside chunks, one small product a chunk between them; float32 or float64, autograd through torch.

    `chunk`: tokens a chunk, a power of two. RWKV-7's exponents are centred on the middle of a chunk, so chunks up to 256
    stay in range; RWKV-6's are never above 0.
    """

    name = "torch"

    def __init__(self, chunk: int = 32):
        """Raises KernelError where `chunk` is no power of two."""
        if chunk < 1 or chunk & (chunk - 1):
            raise KernelError(f"a chunk has a power of two of tokens, not {chunk}")
        self.chunk = chunk

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`; where all are float64, so are the sums and the new state."""
        check_wkv6(r, k, v, w, u, state, cu_seqlens)
        with torch.autocast(r.device.type, enabled=False):
            if cu_seqlens is None:
                return self._wkv6(r, k, v, w, u, state)
            return each_document(
                lambda r, k, v, w, own: self._wkv6(r, k, v, w, u, own), (r, k, v, w), state, cu_seqlens
            )

    def _wkv6(self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        tokens = r.shape[1]
        if tokens < _FEW_TOKENS:
            return wkv6_steps(r, k, v, w, u, state)
        chunk = min(self.chunk, 1 << (tokens - 1).bit_length())
        rs, ks, vs, ws = (_cut(x.to(state.dtype), chunk) for x in (r, k, v, w))
        y, new_state = _wkv6_chunks(rs, ks, vs, ws, u.to(state.dtype), state)
        return y.to(v.dtype).flatten(2, 3)[:, :, :tokens].transpose(1, 2).contiguous(), new_state

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
        """See `Kernels.wkv7`; where all seven are float64, so are the sums and the new state."""
        check_wkv7(r, w, k, v, a, b, state, cu_seqlens)
        with torch.autocast(r.device.type, enabled=False):
            if cu_seqlens is None:
                return self._wkv7(r, w, k, v, a, b, state)
            return each_document(self._wkv7, (r, w, k, v, a, b), state, cu_seqlens)

    def _wkv7(
        self, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens = r.shape[1]
        if tokens < _FEW_TOKENS:
            return wkv7_steps(r, w, k, v, a, b, state)
        rs, ws, ks, vs, as_, bs = (_cut(x.to(state.dtype), min(self.chunk, tokens)) for x in (r, w, k, v, a, b))
        y, new_state = _wkv7_chunks(rs, ws, ks, vs, as_, bs, state)
        return y.to(v.dtype).flatten(2, 3)[:, :, :tokens].transpose(1, 2).contiguous(), new_state


def _cut(x: Tensor, chunk: int) -> Tensor:
    """(B, T, H, N) as (B, chunks, H, chunk, N); zeros behind the last token change neither state nor y."""
    x = pad(x, (0, 0, 0, 0, 0, -x.shape[1] % chunk))
    return x.unflatten(1, (-1, chunk)).transpose(2, 3)


def _wkv6_chunks(r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """r, k, v, w (B, chunks, H, n, N), u (H, N); y is (B, H, chunks, n, N).

    What later tokens read of earlier ones is halved again and again: the second half of a span reads the first in one
    product, the decay between two tokens split at the middle. So every exponent is a sum of log decays alone.
    """
    written = v.mT @ (k * _after(w).exp())  # (B, chunks, H, N, N)
    decay = w.sum(dim=-2, keepdim=True).exp()
    starts = []
    for i in range(written.shape[1]):
        starts.append(state)
        state = state * decay[:, i] + written[:, i]
    y = (r * _before(w).exp()) @ torch.stack(starts, dim=1).mT + (r * u[:, None] * k).sum(dim=-1, keepdim=True) * v
    half = r.shape[-2] // 2
    while half:
        rs, ks, vs, ws = (x.unflatten(-2, (-1, 2, half)) for x in (r, k, v, w))
        reads = rs[..., 1, :, :] * _before(ws[..., 1, :, :]).exp()
        writes = ks[..., 0, :, :] * _after(ws[..., 0, :, :]).exp()
        seen = (reads @ writes.mT) @ vs[..., 0, :, :]
        y = y + torch.stack((torch.zeros_like(seen), seen), dim=-3).flatten(-4, -2)
        half //= 2
    return y.transpose(1, 2), state


def _before(w: Tensor) -> Tensor:
    """The sum of w over the tokens before each."""
    return pad(w[..., :-1, :], (0, 0, 1, 0)).cumsum(dim=-2)


def _after(w: Tensor) -> Tensor:
    """The sum of w over the tokens behind each; no difference of sums, which would lose what is small beside the rest."""
    return pad(w[..., 1:, :], (0, 0, 0, 1)).flip(-2).cumsum(dim=-2).flip(-2)


def _wkv7_chunks(
    r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """All six (B, chunks, H, n, N); y is (B, H, chunks, n, N).

    U, the rows (S_{t-1} a_t)^T, solve (I - M_ab) U = A S0^T + M_ak V. Splitting U into its part in S0 and the rest
    makes a whole chunk one affine map of the state, S_n = S0 P + Q, and every chunk's P and Q are had at once.
    """
    total = w.cumsum(dim=-2)  # (B, chunks, H, n, N), log decay up to and with each token
    before = total - w
    last = total[..., -1:, :]
    middle = total[..., total.shape[-2] // 2, None, :]
    k_from_middle, b_from_middle = k * (middle - total).exp(), b * (middle - total).exp()
    a_to_middle, r_to_middle = a * (before - middle).exp(), r * (total - middle).exp()
    m_ab = (a_to_middle @ b_from_middle.mT).tril(-1)
    m_ak = (a_to_middle @ k_from_middle.mT).tril(-1)
    m_rb = (r_to_middle @ b_from_middle.mT).tril()
    m_rk = (r_to_middle @ k_from_middle.mT).tril()
    known = torch.cat((a * before.exp(), m_ak @ v), dim=-1)
    by_state, by_value = torch.linalg.solve_triangular(
        torch.eye(m_ab.shape[-1], dtype=m_ab.dtype, device=m_ab.device) - m_ab, known, upper=False, unitriangular=True
    ).chunk(2, dim=-1)
    k_to_end, b_to_end = k * (last - total).exp(), b * (last - total).exp()
    transition = by_state.mT @ b_to_end + torch.diag_embed(last.exp().squeeze(-2))  # (B, chunks, H, N, N)
    written = v.mT @ k_to_end + by_value.mT @ b_to_end  # (B, chunks, H, N, N)
    starts = []
    for i in range(transition.shape[1]):
        starts.append(state)
        state = state @ transition[:, i] + written[:, i]
    seen = r * total.exp() + m_rb @ by_state
    y = seen @ torch.stack(starts, dim=1).mT + m_rk @ v + m_rb @ by_value
    return y.transpose(1, 2), state
