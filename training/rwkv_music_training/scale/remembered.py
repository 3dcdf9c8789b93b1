"""Everything a run needs to go on, as one flat mapping of tensors: weights, their average, moments, generators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import CheckpointError, Found

WEIGHTS, AVERAGE, OPTIMISER, OTHER = "weights/", "average/", "optimiser/", "other/"


@dataclass(frozen=True)
class Remembered:
    """The tensors of a run where they live; all of them are changed in place by training and by `restore`."""

    parameters: Mapping[str, Parameter]
    # The moving average of some or all of them.
    average: Mapping[str, Tensor]
    optimisers: Sequence[Optimizer]
    # What else is to come back: weights that do not learn, carried states. Alike on every process.
    others: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """Name -> tensor, as a checkpoint keeps them; moments only once the optimiser has made them."""
        told = {WEIGHTS + name: parameter.detach() for name, parameter in self.parameters.items()}
        told |= {AVERAGE + name: tensor for name, tensor in self.average.items()}
        told |= {OTHER + name: tensor for name, tensor in self.others.items()}
        told[GENERATOR] = torch.get_rng_state()
        for optimiser in self.optimisers:
            for name, parameter in self._own(optimiser).items():
                for what, value in optimiser.state.get(parameter, {}).items():
                    if not isinstance(value, Tensor):
                        raise TypeError(
                            f"{type(optimiser).__name__} keeps '{what}' as {type(value).__name__}, no tensor"
                        )
                    told[f"{OPTIMISER}{what}/{name}"] = value
        return told

    def restore(self, checkpoints: Checkpoints, found: Found) -> None:
        """Take over everything from a checkpoint. Raises CheckpointError."""
        for optimiser in self.optimisers:
            self._make_moments(optimiser, found)
        tensors = self.tensors()
        surplus = sorted(name for name in found.tensors if name not in tensors)
        if surplus:
            raise CheckpointError(
                f"{found.path}: '{surplus[0]}' has no place in this run: resume with the config it was begun with"
            )
        checkpoints.load(found, tensors)
        torch.set_rng_state(tensors[GENERATOR])

    def _own(self, optimiser: Optimizer) -> dict[str, Parameter]:
        members = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
        return {name: parameter for name, parameter in self.parameters.items() if id(parameter) in members}

    def _make_moments(self, optimiser: Optimizer, found: Found) -> None:
        """Tensors for what the checkpoint remembers of each parameter, cut over the processes as the parameter is."""
        on_device = any(group.get("fused") or group.get("capturable") for group in optimiser.param_groups)
        for name, parameter in self._own(optimiser).items():
            state: dict[str, Tensor] = {}
            for stored, (kind, shape) in found.tensors.items():
                what, _, whose = stored.removeprefix(OPTIMISER).partition("/")
                if not stored.startswith(OPTIMISER) or whose != name:
                    continue
                dtype = getattr(torch, kind)
                if shape == tuple(parameter.shape):
                    state[what] = torch.zeros_like(parameter, dtype=dtype, requires_grad=False)
                else:
                    state[what] = torch.zeros(shape, dtype=dtype, device=parameter.device if on_device else "cpu")
            optimiser.state[parameter] = state


GENERATOR = OTHER + "generator"
