"""The one file that knows of ranks: a step is dealt to the processes, and its gradient is that of the whole step.

Every process could read any part of the data, as the order of the data is a function of the step alone. What a process
reads is decided here, by index; losses, counts and gradients are summed here and divided by the counted positions of the
whole step, so that any number of processes gives the same numbers: to the bit where sums are float64 and rows are not
shared, else but for rounding.
"""

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from lightning_fabric.strategies.single_device import SingleDeviceStrategy
from lightning_fabric.strategies.strategy import Strategy
from torch import Tensor, nn

from rwkv_music.errors import UserError
from rwkv_music_training.scale.layout import Layout, LayoutError, Machines, find_machines
from rwkv_music_training.scale.passing import Passing
from rwkv_music_training.scale.sharding import shard_by_block, whole
from rwkv_music_training.scale.summing import InFloat64, Summing, WhileReading

Piece = TypeVar("Piece")


class WorkerLost(UserError):
    """A process of the run that does not answer; the message says what this one saw and what to do."""


@dataclass(frozen=True)
class Dealt:
    """Sums over a whole step: nats lost, positions counted, and whatever else was asked for."""

    loss: float
    count: float
    others: tuple[float, ...] = ()


class Parallel:
    """The processes of a run as one of them sees them. Made by `setup`."""

    def __init__(self, fabric: Fabric, layout: Layout):
        self.rank: int = fabric.global_rank
        self.world: int = fabric.world_size
        self.device: torch.device = fabric.device
        exact = layout.sums == "float64" or (layout.sums == "auto" and not layout.sharded and self.device.type == "cpu")
        self._summing: type[Summing] = InFloat64 if exact else WhileReading
        self._fabric = fabric
        self._layout = layout
        # Readers are the processes with micro-batches of their own; `context` neighbours are one reader.
        self.readers = self.world // layout.context
        self.reader = self.rank // layout.context
        self.passing: Passing | None = None
        # Small numbers and checkpoints go over the CPU; the latter from a thread, so they need a group of their own.
        self.saving: dist.ProcessGroup | None = None
        self._words: dist.ProcessGroup | None = None
        self._workers: ThreadPoolExecutor | None = None
        if self.world > 1:
            patience = timedelta(minutes=layout.patience)
            self._words, self.saving = (_group(list(range(self.world)), patience, "gloo") for _ in range(2))
        for start in range(0, self.world if layout.context > 1 else 0, layout.context):
            ranks = list(range(start, start + layout.context))
            # Every process makes every group, in the same order.
            group = _group(ranks, timedelta(minutes=layout.patience))
            if self.rank in ranks:
                self.passing = Passing(ranks, self.rank, group)

    @property
    def first(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    @property
    def side_by_side(self) -> bool:
        """Whether threads may read micro-batches beside each other: no operation of theirs is one that processes share."""
        apart = self.world == 1 or (self._summing is InFloat64 and self.passing is None)
        return apart and self.device.type == "cpu"

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module as it is to be called in training; its parameters are those to optimise.

        module: whole and alike on every process, with `blocks`. It must look its parameters up by attribute whenever it
        is called, as sharding replaces them for a while, and its blocks must be called as modules.
        """
        self._fabric.strategy.module_to_device(module)
        if self._summing is InFloat64:
            for parameter in module.parameters() if self.world > 1 else ():
                dist.broadcast(parameter.detach(), src=0)
            return module
        return self._fabric.strategy.setup_module(module)

    def check(self, pieces: int) -> None:
        """Raises LayoutError where a step of so many micro-batches cannot be dealt to the readers."""
        if pieces < self.readers:
            raise LayoutError(f"data.pieces must be at least {self.readers}, one for each process, not {pieces}")
        if self._layout.sharded and pieces % self.readers:
            raise LayoutError(
                f"data.pieces must be a multiple of {self.readers}, as sharded processes read in step, not {pieces}"
            )

    def gradients(
        self,
        module: nn.Module,
        pieces: Sequence[Piece],
        rounds: int,
        read: Callable[[Piece], tuple[Tensor, float]],
        threads: int = 1,
        others: Sequence[float] = (),
    ) -> Dealt:
        """Leave in `.grad` the gradient of the loss a counted position over the whole step.

        pieces: this reader's micro-batches of the step, one at least. rounds: the most that any reader has; all take as
        many, since they gather and reduce together, and one that has run out reads its last one again for nothing.
        read: a micro-batch -> the sum of nats over its counted positions, (), and their number; it calls what `wrap`
        returned. threads: micro-batches at a time, where they may be read side by side. others: numbers of this
        process that are summed on the way.
        """
        summing = self._summing(module, self.world)
        if self.side_by_side and threads > 1 and len(pieces) > 1:
            losses, counts = self._in_threads(summing, pieces, read, threads)
        else:
            losses, counts = _one_by_one(summing, pieces, rounds, read)
        here = torch.stack(losses).double().sum().item()
        loss, count, *rest = self.sums(here, math.fsum(counts), *others)
        summing.leave(max(count, 1.0))
        return Dealt(loss, count, tuple(rest))

    def _in_threads(
        self, summing: Summing, pieces: Sequence[Piece], read: Callable[[Piece], tuple[Tensor, float]], threads: int
    ) -> tuple[list[Tensor], list[float]]:
        def work(piece: Piece) -> tuple[Tensor, float, tuple[Tensor | None, ...]]:
            loss, count = read(piece)
            return loss.detach(), float(count), torch.autograd.grad(loss, summing.parameters, allow_unused=True)

        if self._workers is None:
            # Whole micro-batches in parallel wait for each other once a step; threads inside every operation always.
            self._workers = ThreadPoolExecutor(threads, "reader", initializer=torch.set_num_threads, initargs=(1,))
        losses, counts = [], []
        for loss, count, gradients in self._workers.map(work, pieces):
            losses.append(loss)
            counts.append(count)
            # In the order of the micro-batches, whichever thread was first: the sum is the same at every run.
            summing.add(gradients)
        return losses, counts

    def clip(self, parameters: Sequence[Tensor], limit: float) -> float:
        """Scale gradients down to a global norm of `limit`; the norm before it, the same on every process."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return whole(norm).item()

    def sums(self, *values: float) -> list[float]:
        """Numbers summed over the readers' processes, in float64; every process gets the same bits."""
        if self.world == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(told, group=self._words)
        return told.tolist()

    def agree(self, value: float) -> float:
        """The first process's number, on every process: for clocks and whatever else differs between machines."""
        return self.sums(value if self.first else 0.0)[0]

    def wait(self) -> None:
        """Go on when every process has come here."""
        if self.world > 1:
            dist.barrier(group=self._words)

    def gather(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the CPU of the first process, copied; nothing elsewhere. All processes must ask together."""
        gathered = {}
        for name, tensor in tensors.items():
            full = whole(tensor.detach())
            if self.first:
                gathered[name] = full.to("cpu", copy=True)
        return gathered

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Raises WorkerLost, one line, where another process was lost and this one therefore cannot go on."""
        try:
            yield
        except RuntimeError as error:
            if self.world == 1 or not _is_loss(error):
                raise
            # Without the place in gloo's source that it begins with, and the advice that it ends with.
            told = re.sub(r"^\[[^]]*\] ", "", " ".join(str(error).split())).split(". ")[0][:200]
            raise WorkerLost(
                f"process {self.rank} of {self.world} lost touch with another ({told}); "
                "the last whole checkpoint is kept: start the run again with --resume, on any number of processes"
            ) from error

    def close(self) -> None:
        """Part from the other processes, also from those that are lost: nothing is said to them any more."""
        if self._workers is not None:
            self._workers.shutdown()
        if self.world > 1:
            dist.destroy_process_group()


def _one_by_one(
    summing: Summing, pieces: Sequence[Piece], rounds: int, read: Callable[[Piece], tuple[Tensor, float]]
) -> tuple[list[Tensor], list[float]]:
    losses, counts = [], []
    for turn in range(max(rounds, len(pieces))):
        with summing.reading(last=turn == max(rounds, len(pieces)) - 1):
            loss, count = read(pieces[min(turn, len(pieces) - 1)])
            (loss if turn < len(pieces) else loss * 0).backward()
        if turn < len(pieces):
            losses.append(loss.detach())
            counts.append(float(count))
    return losses, counts


def _group(ranks: list[int], patience: timedelta, backend: str | None = None) -> dist.ProcessGroup | None:
    group = dist.new_group(ranks, timeout=patience, backend=backend)
    return group if isinstance(group, dist.ProcessGroup) else None


def _is_loss(error: RuntimeError) -> bool:
    """Whether a collective failed because of another process: gloo says so in words only."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)


def setup(layout: Layout) -> Parallel:
    """Start or find the processes of a run, and meet them.

    Outside torchrun and SLURM more than one process is started by running this program's command line again in each.
    Raises LayoutError.
    """
    machines = find_machines(layout)
    # What Fabric tells of its processes is not for those who make music.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=_accelerator(layout),
        strategy=_strategy(layout, machines),
        devices=machines.devices,
        num_nodes=machines.nodes,
    )
    fabric.launch()
    return Parallel(fabric, layout)


def _accelerator(layout: Layout) -> str:
    if layout.accelerator != "auto":
        return layout.accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def _strategy(layout: Layout, machines: Machines) -> Strategy:
    patience = timedelta(minutes=layout.patience)
    if machines.world == 1:
        return SingleDeviceStrategy(torch.device("cuda:0" if _accelerator(layout) == "cuda" else "cpu"))
    if not layout.sharded:
        return DDPStrategy(timeout=patience)
    copies = (layout.copies or machines.nodes) if layout.spread == "hsdp" else 1
    return ModelParallelStrategy(shard_by_block, copies, machines.world // copies, timeout=patience)
