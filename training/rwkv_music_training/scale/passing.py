"""Context parallelism: ranks share a sequence, and each block's state goes from one stretch of it to the next.

A recurrent model needs nothing else of the past. Rank r waits for layer 0's state from rank r-1, but while it computes
layer 0, rank r-1 is at layer 1 already: L layers on c ranks take (L + c - 1) / L times the work of one rank's stretch.
The gradient of the state takes the same way back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from rwkv_music.model.state import Memory
from rwkv_music_training.learning.packing import Batch, Lanes
from rwkv_music_training.scale.layout import LayoutError

# Stretches begin at a multiple of this where they can: the kernels keep the state every 16 tokens.
BEGINNINGS = 16


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

    def cut(self, batch: Batch) -> Batch:
        """This rank's stretch of a micro-batch. Raises LayoutError where it cannot be shared."""
        tokens = batch.ids.shape[1]
        if tokens < self.size:
            raise LayoutError(f"{tokens} positions cannot be shared by {self.size} processes: lower layout.context")
        if batch.lanes is not None and len(batch.lanes.numbers) > 1:
            raise LayoutError("carried states go with layout.context only at one lane a micro-batch: raise data.pieces")
        unit = BEGINNINGS if tokens >= BEGINNINGS * self.size else 1
        begin, end = (
            tokens if place == self.size else tokens * place // self.size // unit * unit
            for place in (self.place, self.place + 1)
        )
        cuts = batch.cu_seqlens
        inside = cuts[(cuts > begin) & (cuts < end)]
        first = int(torch.searchsorted(cuts, begin, right=True)) - 1
        lanes = batch.lanes
        if lanes is not None:
            zero = torch.zeros_like(lanes.first)
            lanes = Lanes(lanes.numbers, zero, zero + len(inside), lanes.goes_on & (self.place == 0))
        return replace(
            batch,
            ids=batch.ids[:, begin:end],
            targets=batch.targets[:, begin:end],
            counted=batch.counted[:, begin:end],
            cu_seqlens=torch.cat([cuts.new_tensor([begin]), inside, cuts.new_tensor([end])]) - begin,
            members=batch.members[first : first + len(inside) + 1],
            lanes=lanes,
            continues=bool(begin > 0 and not (cuts == begin).any()),
        )

    def receive(self, memory: Memory, continues: bool) -> Memory:
        """What a block's documents begin with, (S, ...) each: the first one with what the rank before remembers of it.

        continues: whether the first document began there; else it keeps what it has.
        """
        if self._before is None:
            return memory
        tie = torch.zeros((), device=memory.wkv.device, requires_grad=torch.is_grad_enabled())
        received = _Receive.apply(self, tie, *(own[:1] for own in memory))
        # Even a state that is not used is taken up in the graph: the rank before waits for its gradient.
        firsts = (new if continues else own[:1] + 0 * new for new, own in zip(received, memory, strict=True))
        return Memory(*(torch.cat([first.to(own.dtype), own[1:]]) for first, own in zip(firsts, memory, strict=True)))

    def send(self, x: Tensor, memory: Memory) -> Tensor:
        """Hand what a block remembers of the last document to the next rank. Returns x, tied to what comes back."""
        if self._after is None:
            return x
        tie = torch.zeros((), device=x.device, requires_grad=torch.is_grad_enabled())
        return _Send.apply(self, tie, x, *(own[-1:] for own in memory))

    def carry(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The last rank's tensors, detached, on every rank: where the next window of the same sequence begins."""
        carried = [tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in tensors]
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


@dataclass(frozen=True)
class Link:
    """The passing of one stretch, as its blocks use it."""

    passing: Passing
    # Whether the first document of the stretch began on the rank before.
    continues: bool

    def receive(self, memory: Memory) -> Memory:
        """See `Passing.receive`."""
        return self.passing.receive(memory, self.continues)

    def send(self, x: Tensor, memory: Memory) -> Tensor:
        """See `Passing.send`."""
        return self.passing.send(x, memory)


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
