"""Context parallelism: ranks share a sequence, and each block's state goes from one stretch of it to the next.

A recurrent model needs nothing else of the past. Rank r waits for layer 0's state from rank r-1, but while it computes
layer 0, rank r-1 is at layer 1 already: L layers on c ranks take (L + c - 1) / L times the work of one rank's stretch.
The gradient of the state takes the same way back.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# What one block remembers: its time shift (S, C), channel shift (S, C) and WKV state (S, ...), all float32.
BlockState = tuple[Tensor, Tensor, Tensor]


class Passing:
    """The neighbours of this rank among those that read one sequence together.

    Used inside each block, whose weights may have to be gathered first: `receive` at its beginning, `send` at its end.
    """

    def __init__(self, ranks: Sequence[int], rank: int, group: dist.ProcessGroup | None):
        self.place = ranks.index(rank)
        self.size = len(ranks)
        self._group = group
        self._last = ranks[-1]
        self._before = ranks[self.place - 1] if self.place > 0 else None
        self._after = ranks[self.place + 1] if self.place + 1 < self.size else None

    def stretch(self, tokens: int) -> tuple[int, int]:
        """Where this rank's stretch of `tokens` tokens begins and ends; stretches differ by one token at most."""
        if tokens < self.size:
            raise ValueError(f"{tokens} tokens cannot be shared by {self.size} processes: make micro-batches longer")
        return tokens * self.place // self.size, tokens * (self.place + 1) // self.size

    def receive(self, state: BlockState, packed: bool, continues: bool = True) -> BlockState:
        """The state to begin with: the earlier rank's last one; `state` itself for the first rank.

        packed: rows are documents one after the other; only the first of them can have begun on the earlier rank, and
        has when `continues`. Else every row goes on.
        """
        if self._before is None:
            return state
        tie = torch.zeros((), device=state[0].device, requires_grad=torch.is_grad_enabled())
        like = tuple(part[:1] if packed else part for part in state)
        received = _Receive.apply(self, tie, *like)
        if not packed:
            return received
        # Even a state that is not used is taken up in the graph: the rank before waits for its gradient.
        firsts = (new if continues else own[:1] + 0 * new for new, own in zip(received, state, strict=True))
        joined = tuple(torch.cat([first, own[1:]]) for first, own in zip(firsts, state, strict=True))
        return joined  # pyright: ignore[reportReturnType]

    def send(self, x: Tensor, state: BlockState, packed: bool) -> Tensor:
        """Hand the block's last state to the next rank. Returns x, tied to what comes back: go on with it."""
        if self._after is None:
            return x
        tie = torch.zeros((), device=x.device, requires_grad=torch.is_grad_enabled())
        return _Send.apply(self, tie, x, *(part[-1:] if packed else part for part in state))

    def carry(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The last rank's tensors, detached, on every rank: where the next window of the same sequence begins."""
        carried = [tensor.detach().clone() for tensor in tensors]
        for tensor in carried:
            dist.broadcast(tensor, src=self._last, group=self._group)
        return carried

    def _take(self, rank: int, like: Sequence[Tensor]) -> list[Tensor]:
        sizes = [part.numel() for part in like]
        flat = torch.empty(sum(sizes), dtype=torch.float32, device=like[0].device)
        dist.recv(flat, src=rank, group=self._group)
        return [piece.view(part.shape) for piece, part in zip(flat.split(sizes), like, strict=True)]

    def _give(self, rank: int, parts: Sequence[Tensor]) -> None:
        dist.send(torch.cat([part.detach().float().reshape(-1) for part in parts]), dst=rank, group=self._group)


class _Receive(torch.autograd.Function):
    """State from the rank before; in the backward pass its gradient goes there."""

    @staticmethod
    def forward(ctx: Any, passing: Passing, tie: Tensor, *like: Tensor) -> tuple[Tensor, ...]:
        ctx.passing = passing
        assert passing._before is not None
        return tuple(part.clone() for part in passing._take(passing._before, like))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        ctx.passing._give(ctx.passing._before, gradients)
        return (None,) * (2 + len(gradients))


class _Send(torch.autograd.Function):
    """State to the rank after; in the backward pass its gradient comes from there. x goes through (a copy: FSDP2 dislikes views)."""

    @staticmethod
    def forward(ctx: Any, passing: Passing, tie: Tensor, x: Tensor, *state: Tensor) -> Tensor:
        ctx.passing = passing
        ctx.save_for_backward(*state)
        assert passing._after is not None
        passing._give(passing._after, state)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        like = ctx.saved_tensors
        parts = ctx.passing._take(ctx.passing._after, like)
        return (None, None, gradients[0], *(part.to(own.dtype) for part, own in zip(parts, like, strict=True)))
