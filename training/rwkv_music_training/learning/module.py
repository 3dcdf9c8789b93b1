"""The learner: the parameters of a model as a torch module, whose forward pass is the model's own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.checkpoint import checkpoint

from rwkv_music.model.spec import Spec
from rwkv_music.model.state import Memory, State
from rwkv_music.model.versions import Model, build_model
from rwkv_music_kernels.contract import Kernels
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.dropping import Dropout, blanked, dropout
from rwkv_music_training.learning.methods import Method
from rwkv_music_training.learning.objective import nats, nats_to, position_nats
from rwkv_music_training.learning.packing import Batch
from rwkv_music_training.learning.teaching import Teachers
from rwkv_music_training.scale.passing import Link, Passing


class Named(Mapping[str, Tensor]):
    """The parameters of a module by name, looked up anew each time: sharding and gathering put others in their place."""

    def __init__(self, module: nn.Module):
        self._places = {
            f"{prefix}.{leaf}" if prefix else leaf: (owner, leaf)
            for prefix, owner in module.named_modules()
            for leaf in owner._parameters
        }

    def __getitem__(self, name: str) -> Tensor:
        owner, leaf = self._places[name]
        found = owner._parameters[leaf]
        assert found is not None
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Block(nn.Module):
    """One layer: a module of its own, so that its parameters can be gathered when it is called and freed after."""

    def __init__(self, recompute: bool):
        super().__init__()
        self._recompute = recompute

    def forward(
        self, model: Model, layer: int, link: Link | None, x: Tensor, memory: Memory, *given: Any
    ) -> tuple[Tensor, Memory, Tensor | None]:
        """See `Model.block`. link: to the processes that read the row's other stretches."""
        if link is not None:
            memory = link.receive(memory)
        if self._recompute and torch.is_grad_enabled():
            told = checkpoint(model.block, layer, x, memory, *given, use_reentrant=False, preserve_rng_state=False)
        else:
            told = model.block(layer, x, memory, *given)
        x, memory, v_first = told  # pyright: ignore[reportGeneralTypeIssues]
        return x if link is None else link.send(x, memory), memory, v_first


class Told(NamedTuple):
    """What a micro-batch says."""

    # In nats: while training the sum over its counted positions, else of every position (T,), 0 where it does not count.
    nats: Tensor
    # Where states are carried on: what the K lanes remember at its end, (L, K, C), (L, K, C) and (L, K, ...), detached.
    carried: tuple[Tensor, Tensor, Tensor] | None


class Learner(nn.Module):
    """Float32 parameters under their official names (and those of the method), one submodule a block."""

    def __init__(
        self,
        config: TrainingConfig,
        spec: Spec,
        parameters: Mapping[str, Parameter],
        method: Method,
        kernels: Kernels,
        teachers: Teachers | None = None,
    ):
        super().__init__()
        self.config = config
        self.spec = spec
        self.method = method
        self.blocks = nn.ModuleList(Block(config.machine.recompute) for _ in range(spec.layers))
        for name, parameter in parameters.items():
            _plant(self, name, parameter)
        self.named = Named(self)
        # The processes that share a row with this one; set by those who know of them.
        self.passing: Passing | None = None
        # Their weights are none of this module's: they neither learn nor are kept with it.
        self.teachers = teachers
        self._kernels = kernels

    def learning(self) -> dict[str, Parameter]:
        """What learns, by name."""
        return {name: each for name, each in self.named_parameters() if each.requires_grad}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def forward(self, batch: Batch, step: int = 0, carried: State | None = None) -> Told:
        """What one micro-batch costs; `step` of the run decides what dropout leaves out.

        carried: with lanes, what each of the K remembers (rows in their order; a lane that begins anew ignores its own).
        """
        if not self.training:
            logits, state = self.read(batch, carried, self.model(), None)
            return Told(position_nats(logits, batch.targets, batch.counted)[0], _parts(state))
        options = self.config.optimiser
        draw = (self.config.seed, step, batch.number, *(() if self.passing is None else (self.passing.place,)))
        seen = batch
        if options.blanked > 0:
            seen = replace(batch, ids=blanked(batch.ids, batch.cu_seqlens, options.blanked, *draw))
        logits, state = self.read(seen, carried, self.model(draw), dropout(options.dropout, *draw), self.passing)
        cost = nats(logits, batch.targets, batch.counted, options.l2wrap)
        if self.teachers is not None:
            share = self.config.teaching.share
            cost = (1 - share) * cost + share * nats_to(logits, self._taught(batch), batch.counted)
        return Told(cost, _parts(state))

    def _taught(self, batch: Batch) -> Tensor:
        """What the teachers expect, (1, T, V)."""
        assert self.teachers is not None
        with self._precision(batch.ids.device):
            return self.teachers.odds(batch)

    def _precision(self, device: torch.device) -> torch.autocast:
        half = self.config.machine.precision == "bfloat16"
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)

    def model(self, draw: tuple[int, ...] | None = None) -> Model:
        """The model as it is now; draw: for a step of training, see `Method.seen`."""
        return build_model(self.spec, self.method.seen(self.named, self.spec, draw), self._kernels)

    def read(
        self, batch: Batch, carried: State | None, model: Model, drop: Dropout | None, passing: Passing | None = None
    ) -> tuple[Tensor, State | None]:
        """Logits (1, T, V), and what the lanes remember at the end, detached; None without lanes."""
        link = None if passing is None else Link(passing, batch.continues)
        with self._precision(batch.ids.device):
            state = self._begin(batch, carried)
            x, v_first = model.embed(batch.ids), None
            memories = []
            for layer, block in enumerate(self.blocks):
                given = (x, state.of_layer(layer), v_first, drop, batch.cu_seqlens)
                x, memory, v_first = block(model, layer, link, *given)
                memories.append(memory)
            logits = model.read_out(x)
        if batch.lanes is None:
            return logits, None
        ended = State.of_layers(memories)
        rows = (ended.time_shift, ended.channel_shift, ended.wkv)
        rows = [each.index_select(1, batch.lanes.last).detach() for each in rows]
        return logits, State(*(rows if passing is None else passing.carry(rows)))

    def _begin(self, batch: Batch, carried: State | None) -> State:
        """What every document of a batch begins with."""
        start = self.method.start(self.named, self.spec, batch.documents, batch.ids.device)
        if batch.lanes is None or carried is None:
            return start
        lanes, goes_on = batch.lanes.first, batch.lanes.goes_on

        def joined(fresh: Tensor, own: Tensor) -> Tensor:
            wide = goes_on.view(1, -1, *(1 for _ in own.shape[2:]))
            return fresh.index_copy(1, lanes, torch.where(wide, own.to(fresh.dtype), fresh.index_select(1, lanes)))

        return State(
            joined(start.time_shift, carried.time_shift),
            joined(start.channel_shift, carried.channel_shift),
            joined(start.wkv, carried.wkv),
        )


def _parts(state: State | None) -> tuple[Tensor, Tensor, Tensor] | None:
    return None if state is None else (state.time_shift, state.channel_shift, state.wkv)


def _plant(root: nn.Module, name: str, parameter: Parameter) -> None:
    """Make a parameter the module's under a name with dots."""
    *path, leaf = name.split(".")
    owner = root
    for part in path:
        if part not in owner._modules:
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    owner.register_parameter(leaf, parameter)
