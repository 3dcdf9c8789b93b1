"""The thing that learns: parameters, optimiser and average of one model, and the step that changes them."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from rwkv_music.model.blocks import Drop
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.contract import Kernels
from rwkv_music_training.batches import Batch
from rwkv_music_training.config import TrainingConfig
from rwkv_music_training.optimizer import language_loss, make_optimizer, set_learning_rate


def dropout(share: float, *seed: int) -> Drop | None:
    """A function that zeroes `share` of a tensor and scales up the rest, from its own generators; None for share 0.

    The same seeds drop the same channels at the same place, whatever other threads draw and however often it is asked.
    """
    if share <= 0:
        return None

    def drop(x: torch.Tensor, place: int) -> torch.Tensor:
        mixed = np.random.SeedSequence([*seed, place]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(mixed[0]))
        dropped = torch.rand(x.shape, generator=generator) < share
        return x.masked_fill(dropped, 0.0) * (1 / (1 - share))

    return drop


class Learner:
    """Float32 parameters under the official names, given to the same model class that plays them.

    Without `weights` it begins as the config says, at the official initialisation of RWKV-7; with them it goes on from a
    model of any version.
    """

    def __init__(self, config: TrainingConfig, kernels: Kernels, weights: Mapping[str, torch.Tensor] | None = None):
        self.config = config
        if weights is None:
            self.spec: Spec = new_spec(
                config.layers, config.width, config.vocabulary, config.head_size, config.ffn_width
            )
            first = initial_weights(self.spec, torch.Generator().manual_seed(config.seed))
        else:
            self.spec = read_spec(shapes_of(weights))
            first = {name: tensor.float().clone() for name, tensor in tidy(weights, self.spec).items()}
        self.parameters = {name: torch.nn.Parameter(tensor) for name, tensor in first.items()}
        self.average = {name: tensor.clone() for name, tensor in first.items()} if config.average else {}
        self.optimizer = make_optimizer(self.parameters, config)
        # Whole pieces in parallel wait for each other once a step; threads inside every operation would do so always.
        self._workers = ThreadPoolExecutor(config.threads, "learner", initializer=torch.set_num_threads, initargs=(1,))
        self.model = build_model(self.spec, self.parameters, kernels)
        # Of the last gradient, before it was clipped.
        self.gradient_norm = 0.0
        # The weights that are read on validation tunes, sampled from and exported.
        self.best_guess = build_model(self.spec, self.average or self.parameters, kernels)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def precision(self) -> AbstractContextManager:
        """Autocast, when the config asks for bfloat16 products."""
        if self.config.precision == "bfloat16":
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return nullcontext()

    def learn(self, pieces: Sequence[Batch], rate: float, step: int) -> float | None:
        """One optimiser step on a batch in pieces; `step` (of the run) decides what dropout leaves out.

        Returns the loss in bits a token, or None when it or the gradient is not finite (then nothing changes).
        """
        total = sum(piece.tokens for piece in pieces)
        drops = [dropout(self.config.dropout, self.config.seed, step, number) for number in range(len(pieces))]
        results = list(
            self._workers.map(lambda piece, drop: self._gradients(piece, piece.tokens / total, drop), pieces, drops)
        )
        loss = sum(loss for loss, _ in results)
        for parameter, *gradients in zip(
            self.parameters.values(), *(gradients for _, gradients in results), strict=True
        ):
            parameter.grad = torch.stack(gradients).sum(dim=0)
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.config.clip).item()
        if not (math.isfinite(self.gradient_norm) and math.isfinite(loss)):
            return None
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self._follow()
        return loss / math.log(2)

    def _gradients(self, piece: Batch, share: float, drop: Drop | None) -> tuple[float, tuple[torch.Tensor, ...]]:
        """The loss (nats) of one piece and its gradients, both times the piece's share of the batch."""
        state = State.zeros(self.spec, len(piece.inputs))
        with self.precision():
            logits, _ = self.model.forward(piece.inputs, state, drop)
        loss = language_loss(logits, piece.targets, piece.counted, self.config.l2wrap) * share
        return loss.item(), torch.autograd.grad(loss, list(self.parameters.values()))

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; faster at first, so that it soon forgets the initial ones."""
        if self.average:
            steps = self._optimizer_steps()
            decay = min(self.config.average, (1 + steps) / (10 + steps))
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, 1 - decay)

    def _optimizer_steps(self) -> int:
        states = self.optimizer.state.values()
        return max((int(state["step"]) for state in states), default=0)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Everything that a checkpoint needs, by kind and name."""
        kinds: dict[str, dict[str, torch.Tensor]] = {
            "weights": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "average": self.average,
            "moment": {},
            "square": {},
            "optimizer": {"step": torch.tensor(float(self._optimizer_steps()))},
        }
        for name, parameter in self.parameters.items():
            if state := self.optimizer.state.get(parameter):
                kinds["moment"][name] = state["exp_avg"]
                kinds["square"][name] = state["exp_avg_sq"]
        return kinds

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take over what `tensors()` of a learner of the same config gave."""
        for name, parameter in self.parameters.items():
            parameter.copy_(tensors["weights"][name])
            if self.average:
                self.average[name].copy_(tensors["average"][name])
            if name in tensors.get("moment", {}):
                self.optimizer.state[parameter] = {
                    "step": tensors["optimizer"]["step"].clone(),
                    "exp_avg": tensors["moment"][name].clone(),
                    "exp_avg_sq": tensors["square"][name].clone(),
                }
