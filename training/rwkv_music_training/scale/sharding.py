"""FSDP2: each process holds a share of every block, and gathers a block's weights only while it computes that block."""

import warnings
from collections.abc import Callable

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import Shard


def placement(processes: int) -> Callable[[nn.Parameter], Shard]:
    """Along which dimension each parameter is cut: the first, or the first that divides evenly where that one is short.

    RWKV's vectors are (1, 1, C): cut along their first dimension, one process would hold them all.
    """

    def choose(parameter: nn.Parameter) -> Shard:
        if parameter.dim() and parameter.shape[0] < processes:
            for dimension, size in enumerate(parameter.shape):
                if size >= processes and size % processes == 0:
                    return Shard(dimension)
        return Shard(0)

    return choose


# The first block owns a norm by its official name that is read with the embedding, before the block is called.
EARLY = "ln0"


def shard_by_block(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard `module` in place over `mesh`, each of `module.blocks` as a unit of its own and the rest as one more.

    mesh: (1, processes) shards over all; (copies, processes of a copy) keeps whole copies (HSDP).
    """
    # States are views of what a block computed. Nothing here works in place, which is what this warns about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    copies, processes = mesh.shape
    over = mesh if copies > 1 else mesh[mesh.mesh_dim_names[1]]  # pyright: ignore[reportOptionalSubscript]
    blocks = list(module.get_submodule("blocks").children())
    early = blocks[0]._modules.pop(EARLY, None)
    for block in blocks:
        fully_shard(block, mesh=over, shard_placement_fn=placement(processes))
    module.add_module(EARLY, early)
    fully_shard(module, mesh=over, shard_placement_fn=placement(processes))
    del module._modules[EARLY]
    if early is not None:
        blocks[0].add_module(EARLY, early)
    return module


def reduce_copies(module: nn.Module, now: bool) -> None:
    """Whether the next backward pass sums gradients over the copies, or leaves that to a later one of the step."""
    if isinstance(module, FSDPModule):
        module.set_requires_all_reduce(now)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that may be spread over processes, in one piece. All processes must ask together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # pyright: ignore
