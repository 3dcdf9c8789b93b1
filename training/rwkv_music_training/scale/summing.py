"""The gradient of a step: added up over its micro-batches, and over the processes that read them.

A sum of float32 numbers depends on their order in its last digits, and training lets those grow: after some hundred steps
losses differ in the fifth digit. A float64 holds the sum of a few float32 numbers exactly, unless one of them is a hundred
million times smaller than another, so that it is the same bits in whatever order they come.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rwkv_music_training.scale.sharding import reduce_copies


class Summing(ABC):
    """The gradients of one step of a module, until they are whole. All processes must do the same together."""

    def __init__(self, module: nn.Module, world: int):
        """module: as `Parallel.wrap` returned it; its gradients of before are dropped. world: processes that add up."""
        self._module = module
        self._world = world
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in self.parameters:
            parameter.grad = None

    @abstractmethod
    def reading(self, last: bool) -> AbstractContextManager[None]:
        """Where a micro-batch is read and its loss goes backward. last: none comes after it."""

    @abstractmethod
    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add the gradient of a micro-batch that was computed elsewhere: for each of `parameters` one of its shape, or None
        where it was not used.
        """

    @abstractmethod
    def leave(self, count: float) -> None:
        """Put the sum over all processes, divided by `count` (positions of the whole step), into `.grad`. Raises
        RuntimeError where another process is lost.
        """


class WhileReading(Summing):
    """In float32, as DDP and FSDP2 do it: processes add up while the last micro-batch (sharded: each) goes backward."""

    def reading(self, last: bool) -> AbstractContextManager[None]:
        # Copies add up after the last micro-batch only; shares at once, to hold no more than shares.
        if isinstance(self._module, DistributedDataParallel):
            return nullcontext() if last else self._module.no_sync()
        reduce_copies(self._module, last)
        return nullcontext()

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def leave(self, count: float) -> None:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        # Both DDP and FSDP2 leave the mean over all processes.
        torch._foreach_mul_(gradients, self._world / count)  # pyright: ignore[reportPrivateImportUsage]


class InFloat64(Summing):
    """In float64, after the last micro-batch: the same bits for any number of processes that read whole rows."""

    def __init__(self, module: nn.Module, world: int):
        super().__init__(module, world)
        sizes = [parameter.numel() for parameter in self.parameters]
        device = self.parameters[0].device
        self._whole = torch.zeros(sum(sizes) + len(sizes), dtype=torch.float64, device=device)
        # Behind the sums, of every parameter how many processes used it.
        *sums, self._users = self._whole.split([*sizes, len(sizes)])
        self._sums = [part.view_as(parameter) for part, parameter in zip(sums, self.parameters, strict=True)]
        self._used = [False] * len(sizes)

    @contextmanager
    def reading(self, last: bool) -> Iterator[None]:
        yield
        self.add([parameter.grad for parameter in self.parameters])
        for parameter in self.parameters:
            parameter.grad = None

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        for place, gradient in enumerate(gradients):
            if gradient is not None:
                self._sums[place].add_(gradient)
                self._used[place] = True

    def leave(self, count: float) -> None:
        self._users.copy_(torch.tensor(self._used))
        if self._world > 1:
            dist.all_reduce(self._whole)
        for parameter, total, users in zip(self.parameters, self._sums, self._users.tolist(), strict=True):
            if users:
                parameter.grad = (total / count).to(parameter.dtype)
