"""One token of every row over a pool of states, in plain torch: recurrences, shifts and the draw of the next token.

This is the truth that the kernels of `triton.decode` and `triton.sample` keep. Letters beside those of the contract:

    R  rows of a step
    P  slots of the pool

slots: (R,) int64, the slot of each row's state, all different; -1 where the row rests: nothing of it is read or written.
"""

import torch
from torch import Tensor

from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.elementwise import PlainElementwise
from rwkv_music_kernels.reference import wkv4_steps, wkv6_steps, wkv7_steps

# What is drawn where the highest logit is not finite or one is no number.
OVERFLOW = -1
# Columns of `settings`: temperature, top_k, top_p, min_p, and 1 where top_p cuts before top_k.
SETTINGS = 5


class PlainSlots(PlainElementwise):
    """`Kernels` for one token a row, whose states are the slots of a pool and are changed where they lie.

    Where the contract says state, (P, ...) is given, and what comes back as the new state is empty. No gradients.
    """

    name = "slots"
    # Whether a CUDA graph may hold all of it.
    recordable = False

    def __init__(self, slots: Tensor):
        self.slots = slots

    def wkv4(
        self, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv4`; k, v: (R, 1, C), state: (P, 3, C)."""
        self.check(k, state, cu_seqlens)
        y, own = wkv4_steps(k, v, w, u, state[self.slots.clamp(min=0)])
        return self._kept(y, own, state)

    def wkv6(
        self, r: Tensor, k: Tensor, v: Tensor, w: Tensor, u: Tensor, state: Tensor, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Kernels.wkv6`; r, k, v, w: (R, 1, H, N), state: (P, H, N, N)."""
        self.check(r, state, cu_seqlens)
        y, own = wkv6_steps(r, k, v, w, u, state[self.slots.clamp(min=0)])
        return self._kept(y, own, state)

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
        """See `Kernels.wkv7`; r, w, k, v, a, b: (R, 1, H, N), state: (P, H, N, N)."""
        self.check(r, state, cu_seqlens)
        y, own = wkv7_steps(r, w, k, v, a, b, state[self.slots.clamp(min=0)])
        return self._kept(y, own, state)

    def take(self, pool: Tensor) -> Tensor:
        """What the pool (L, P, C) holds for the rows: (L, R, C), zeros for those that rest."""
        return pool[:, self.slots.clamp(min=0)] * (self.slots >= 0)[:, None]

    def put(self, pool: Tensor, rows: Tensor) -> None:
        """Writes rows (L, R, C) into the pool (L, P, C)."""
        active = self.slots >= 0
        pool[:, self.slots[active]] = rows[:, active].to(pool.dtype)

    def draw(self, logits: Tensor, settings: Tensor, uniforms: Tensor, forbidden: Tensor | None = None) -> Tensor:
        """The next token of every row, as `rwkv_music.sampling.Sampler` chooses it: (R,) int64, OVERFLOW where none is.

        logits: (R, V) float32. settings: (R, SETTINGS) float64. uniforms: (R,) float64, from 0 to below 1. forbidden:
        (R, V) bool, tokens that may not come.
        """
        return draw_rows(logits, settings, uniforms, forbidden)

    def check(self, lead: Tensor, state: Tensor, cu_seqlens: Tensor | None) -> None:
        """Raises KernelError when the tensors are not one token for every row."""
        if cu_seqlens is not None or lead.shape[:2] != (self.slots.numel(), 1):
            raise KernelError(f"a step takes one token for each of {self.slots.numel()} rows, not {tuple(lead.shape)}")
        if state.dtype != torch.float32 or not state.is_contiguous():
            raise KernelError("a pool of states is float32 and contiguous")

    def _kept(self, y: Tensor, own: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
        active = self.slots >= 0
        pool[self.slots[active]] = own[active]
        return y * active.view(-1, *[1] * (y.dim() - 1)), pool.new_empty(0)


def draw_rows(logits: Tensor, settings: Tensor, uniforms: Tensor, forbidden: Tensor | None) -> Tensor:
    """See `PlainSlots.draw`; in float64, without a look at a value from the host."""
    x = logits.double()
    if forbidden is not None:
        x = x.masked_fill(forbidden, -torch.inf)
    top = x.amax(dim=-1, keepdim=True)
    broken = ~top.isfinite() | x.isnan().any(dim=-1, keepdim=True)
    x, top = x.masked_fill(broken, 0.0), top.masked_fill(broken, 0.0)
    temperature, count, share, least, share_first = settings.double().unsqueeze(-1).unbind(1)

    ordered, order = x.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(x.shape[-1], device=x.device)
    kept = (rank < count) | (count <= 0)
    weights = (ordered - top).exp()
    held = weights.mul(kept | (share_first > 0)).cumsum(-1)
    few = (held < share * held[:, -1:]).sum(dim=-1, keepdim=True)
    kept = kept & ((rank <= few) | (share >= 1))
    kept = kept & ((ordered >= top + least.log()) | (least <= 0))

    odds = ((ordered - top) / temperature.clamp_min(1e-300)).exp().mul(kept)
    held = torch.zeros_like(odds).scatter_(-1, order, odds).cumsum(-1)
    total = held[:, -1:]
    spot = torch.minimum(uniforms.double()[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    drawn = (held <= spot).sum(dim=-1, keepdim=True)
    drawn = torch.where(temperature > 0, drawn, x.argmax(dim=-1, keepdim=True))
    return drawn.masked_fill(broken, OVERFLOW).squeeze(-1)
