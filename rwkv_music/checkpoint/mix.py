"""Several models of one shape as one: the mean of their weights, which often foretells better than each of them.

Source: Wortsman et al. 2022, "Model soups", arXiv 2203.05482: of models that were trained on from one and the same.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rwkv_music.checkpoint.convert import open_model, write_model
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.versions import Tidy

HEAD = "head.weight"


class Mixed(Mapping[str, Tensor]):
    """The mean of some models' weights, float32, each made when it is asked for."""

    def __init__(self, models: Sequence[tuple[Tidy, float]], softened: float = 1.0):
        """models: of the same names and shapes, with their shares; softened: what all logits are divided by."""
        self._models = models
        self._whole = sum(share for _, share in models)
        self._softened = softened
        self._names = tuple(models[0][0])

    def __getitem__(self, name: str) -> Tensor:
        mean = torch.stack([model[name].float() * (share / self._whole) for model, share in self._models]).sum(dim=0)
        return mean / self._softened if name == HEAD else mean

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def mix_weights(
    sources: Sequence[tuple[Path, float]],
    target: Path,
    kind: str = "bf16",
    *,
    softened: float = 1.0,
    force: bool = False,
) -> None:
    """Write the mean of some models, each with a share above 0, as `target`, in a form that its suffix says.

    kind: see `convert_weights`. softened: above 1 makes all odds more even, as if the temperature were that much higher.
    Raises CheckpointError, FileError for a target that exists (unless `force`), and OSError.
    """
    for source, share in sources:
        if not (math.isfinite(share) and share > 0):
            raise CheckpointError(f"{source}: the share of a model is a number above 0, not {share:g}")
    if not (math.isfinite(softened) and softened > 0):
        raise CheckpointError(f"{target}: logits are divided by a number above 0, not {softened:g}")
    opened = [open_model(source) for source, _ in sources]
    first, spec = opened[0]
    for (source, _), (weights, _) in zip(sources, opened, strict=True):
        if weights.shapes != first.shapes:
            raise CheckpointError(f"{source}: its tensors have other names or shapes than those of {sources[0][0]}")
    models = [(weights, share) for (weights, _), (_, share) in zip(opened, sources, strict=True)]
    write_model(Mixed(models, softened), spec, target, kind, force=force)
