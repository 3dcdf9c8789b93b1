"""What every RWKV version does alike: tokens become vectors, pass block after block, and become logits.

Letters: B pieces, T tokens, C channels, V token ids, L layers, S documents of a packed batch.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rwkv_music.model.layers import Prefixed, last_tokens, wide
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import Memory, State
from rwkv_music_kernels.contract import Kernels

# Dropout of the output of one mix: `place` is 2 layer for a time mix, 2 layer + 1 for a channel mix. What it leaves out
# must be the same each time it is asked for the same place, since a block that is computed again asks again.
Drop: TypeAlias = Callable[[Tensor, int], Tensor]
AnySpec = TypeVar("AnySpec", bound=Spec)


class Blocks(ABC, Generic[AnySpec]):
    """A model. It holds its weights by their official names and changes neither them nor a state it is given.

    The residual stream, norms, what fades and the state are float32, all of it float64 where the weights are; matrix
    products run in the type of the matrices. `forward` is `embed`, then `block` for each layer, then `read_out`: whoever
    keeps the blocks apart, on several devices or to compute them again, calls those.

    Packed documents: with `cu_seqlens` (S + 1,), see `rwkv_music_kernels.contract`, B is 1 and a state has S rows; each
    document begins from its own row, with its own token before the first, and knows nothing of its neighbours.
    """

    def __init__(self, spec: AnySpec, weights: Mapping[str, Tensor], kernels: Kernels):
        self.spec: AnySpec = spec
        self.weights = weights
        self.kernels = kernels

    def forward(
        self,
        ids: Tensor,
        state: State,
        drop: Drop | None = None,
        cu_seqlens: Tensor | None = None,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, State]:
        """Read tokens after what `state` remembers.

        ids: (B, T) int64, T >= 1; state: of B pieces or S documents; drop: applied to the output of every mix while
        training; recompute: keep only what enters each block, and compute its inside again for the backward pass.
        Returns logits (B, T, V) float32 (bfloat16 under autocast) and the state after the last token of each piece or
        document; an empty document keeps its own.
        """
        x, v_first = self.embed(ids), None
        memories = []
        for layer in range(self.spec.layers):
            given = (layer, x, state.of_layer(layer), v_first, drop, cu_seqlens)
            if recompute:
                # `drop` depends on the place alone, so that no generator has to be set back.
                again = checkpoint(self.block, *given, use_reentrant=False, preserve_rng_state=False)
                x, memory, v_first = again  # pyright: ignore[reportGeneralTypeIssues]
            else:
                x, memory, v_first = self.block(*given)
            memories.append(memory)
        return self.read_out(x), State.of_layers(memories)

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T, C) of ids (B, T)."""
        w = Prefixed(self.weights, "")
        return w.norm(wide(F.embedding(ids, w["emb.weight"])), "blocks.0.ln0")

    def block(
        self,
        layer: int,
        x: Tensor,
        memory: Memory,
        v_first: Tensor | None = None,
        drop: Drop | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Memory, Tensor | None]:
        """One layer: x + time mix, then x + channel mix, each of the norm of what it is added to.

        x: (B, T, C); memory: what this layer remembers; v_first: RWKV-7's values of layer 0 for the layers above, from
        the block before (None at layer 0, and always in other versions). Returns x, the new memory and v_first.
        """
        w = Prefixed(self.weights, f"blocks.{layer}.")
        normed = w.norm(x, "ln1")
        time_shift = last_tokens(normed, memory.time_shift, cu_seqlens)
        out, wkv, v_first = self._time_mix(w.of("att."), normed, memory.time_shift, memory.wkv, v_first, cu_seqlens)
        x = x + (drop(out, 2 * layer) if drop else out)
        normed = w.norm(x, "ln2")
        channel_shift = last_tokens(normed, memory.channel_shift, cu_seqlens)
        out = self._channel_mix(w.of("ffn."), normed, memory.channel_shift, cu_seqlens)
        x = x + (drop(out, 2 * layer + 1) if drop else out)
        return x, Memory(time_shift, channel_shift, wkv), v_first

    def read_out(self, x: Tensor) -> Tensor:
        """Logits (B, T, V) of what leaves the last block."""
        w = Prefixed(self.weights, "")
        return self.kernels.linear(w.norm(x, "ln_out"), w["head.weight"])

    @abstractmethod
    def _time_mix(
        self, p: Prefixed, x: Tensor, last: Tensor, wkv: Tensor, v_first: Tensor | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """x: (B, T, C), last: (B, C), wkv: of this layer. Returns the output like x, the new wkv, and v_first."""

    @abstractmethod
    def _channel_mix(self, p: Prefixed, x: Tensor, last: Tensor, cu_seqlens: Tensor | None) -> Tensor:
        """x: (B, T, C), last: (B, C). Returns the output like x."""
