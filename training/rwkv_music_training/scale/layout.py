"""How a run is spread over processes: what the config asks for, and what torchrun or SLURM has started already."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Spread = Literal["auto", "ddp", "fsdp", "hsdp"]


class LayoutError(ValueError):
    """A way to spread a run that cannot be; the message says which number must be what."""


@dataclass(frozen=True)
class Layout:
    """The choices of a run about devices. The defaults are right for one process and for anything torchrun starts."""

    # "ddp": every process holds the model. "fsdp": each holds a share of every block's weights, gradients and moments.
    # "hsdp": shares within a node, whole copies between nodes. "auto": ddp.
    spread: Spread = "auto"
    # Processes on each node: 0 takes what torchrun or SLURM started, else all GPUs, else one.
    devices: int = 0
    # Nodes: 0 takes what torchrun or SLURM started, else one.
    nodes: int = 0
    # Neighbouring processes that share each micro-batch, a stretch of it each, and hand the state on (context parallelism).
    context: int = 1
    # Copies of the model with "hsdp"; 0 is one a node.
    copies: int = 0
    # How gradients are added up. "float64": the same bits for any number of processes that read whole rows, for twice the
    # words between them.
    # "float32": while the last micro-batch goes backward. "auto": float64 on the CPU where each process holds the model.
    sums: Literal["auto", "float32", "float64"] = "auto"
    # "auto", "cpu" or "cuda".
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    # Minutes after which a process that does not answer counts as lost (one that dies is noticed at once on the CPU).
    patience: float = 10.0

    def __post_init__(self) -> None:
        if self.devices < 0 or self.nodes < 0 or self.copies < 0:
            raise LayoutError("devices, nodes and copies must be 0 (as found) or more")
        if self.context < 1:
            raise LayoutError(f"context must be at least 1, not {self.context}")
        if self.sharded and self.sums == "float64":
            raise LayoutError(
                f"sums must be auto or float32 with {self.spread}, whose processes hold shares of gradients"
            )
        if self.patience <= 0:
            raise LayoutError(f"patience must be above 0 minutes, not {self.patience}")

    @property
    def sharded(self) -> bool:
        """Whether each process holds only a share of the model."""
        return self.spread in ("fsdp", "hsdp")


@dataclass(frozen=True)
class Machines:
    """The processes of a run: on each node, and on how many nodes."""

    devices: int
    nodes: int

    @property
    def world(self) -> int:
        return self.devices * self.nodes


def find_machines(layout: Layout, environment: Mapping[str, str] | None = None) -> Machines:
    """How many processes there will be. Raises LayoutError where the layout contradicts what has been started.

    environment: where torchrun leaves LOCAL_WORLD_SIZE and WORLD_SIZE, and SLURM (srun) SLURM_NTASKS and SLURM_NNODES.
    """
    told = os.environ if environment is None else environment
    devices, nodes = layout.devices, layout.nodes
    if "TORCHELASTIC_RUN_ID" in told:
        here = int(told["LOCAL_WORLD_SIZE"])
        started = Machines(here, int(told["WORLD_SIZE"]) // here)
        launcher = "torchrun"
    elif "SLURM_PROCID" in told and "SLURM_STEP_ID" in told:
        many = int(told["SLURM_NNODES"])
        started = Machines(int(told["SLURM_NTASKS"]) // many, many)
        launcher = "SLURM"
    else:
        found = torch.cuda.device_count() if layout.accelerator != "cpu" else 0
        return _checked(layout, Machines(devices or found or 1, nodes or 1))
    for what, asked, has in (("devices", devices, started.devices), ("nodes", nodes, started.nodes)):
        if asked not in (0, has):
            raise LayoutError(f"{launcher} started {has} for '{what}', the config says {asked}: make it 0 to take both")
    return _checked(layout, started)


def _checked(layout: Layout, machines: Machines) -> Machines:
    world = machines.world
    if world % layout.context:
        raise LayoutError(f"context must divide the {world} processes, {layout.context} does not")
    if layout.spread == "hsdp" and world % (layout.copies or machines.nodes):
        raise LayoutError(f"copies must divide the {world} processes, {layout.copies or machines.nodes} does not")
    return machines
