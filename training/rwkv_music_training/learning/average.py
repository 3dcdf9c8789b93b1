"""A moving average of the weights: smoother than what the last steps left."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter


class Average:
    """The exponential moving average of what learns. Without decay it keeps none, and is the weights themselves."""

    def __init__(self, learning: Mapping[str, Parameter], decay: float):
        self._learning = learning
        self._decay = decay
        self.tensors: dict[str, Tensor] = (
            {name: each.detach().clone() for name, each in learning.items()} if decay > 0 else {}
        )

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Move towards the weights after so many steps; faster at first, so that it soon forgets the initial ones."""
        decay = min(self._decay, (1 + steps) / (10 + steps))
        for name, average in self.tensors.items():
            average.lerp_(self._learning[name].detach(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the average as its weights, for as long as it lasts."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # By value: sharded parameters must stay where they are.
        for name, average in self.tensors.items():
            parameter = self._learning[name]
            own = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(own)
