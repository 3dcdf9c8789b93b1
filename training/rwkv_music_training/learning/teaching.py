"""Teachers: finished models whose odds are learnt beside the music (distillation, Hinton et al. 2015, arXiv 1503.02531).

The odds of several models together are better than those of each, and say more about a place than the one note that
followed there; what has learnt too much of a small corpus by heart is meant to gain by them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.library import find_model
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.contract import Kernels
from rwkv_music_training.learning.config import ConfigError, Teaching
from rwkv_music_training.learning.packing import Batch


class Teachers:
    """Some models that learn nothing."""

    def __init__(self, models: Sequence[Model]):
        """models: one or more, of one vocabulary."""
        self._models = models

    def on(self, device: torch.device) -> "Teachers":
        """The same on a device."""
        return Teachers(
            [
                build_model(each.spec, {name: tensor.to(device) for name, tensor in each.weights.items()}, each.kernels)
                for each in self._models
            ]
        )

    @torch.no_grad()
    def odds(self, batch: Batch) -> Tensor:
        """The mean of their probabilities at every position of a micro-batch, (1, T, V) float32."""
        return torch.stack([self._odds(model, batch) for model in self._models]).mean(dim=0)

    def _odds(self, model: Model, batch: Batch) -> Tensor:
        nothing = State.zeros(model.spec, batch.documents, batch.ids.device)
        logits, _ = model.forward(batch.ids, nothing, cu_seqlens=batch.cu_seqlens)
        return torch.softmax(logits.float(), dim=-1)


def open_teachers(teaching: Teaching, vocabulary: int, kernels: Kernels) -> Teachers | None:
    """The models that teach, on the CPU in float32; None without any.

    vocabulary: ids of the learner. Raises ConfigError for a model of another vocabulary; CheckpointError and ModelError
    like `load_weights`.
    """
    models = [_open(name, vocabulary, kernels) for name in teaching.models]
    return Teachers(models) if models else None


def _open(name: str, vocabulary: int, kernels: Kernels) -> Model:
    weights = load_weights(find_model(name).weights)
    spec = read_spec(shapes_of(weights))
    if spec.vocabulary != vocabulary:
        raise ConfigError(f"teaching.models: {name} knows {spec.vocabulary} ids, the learner {vocabulary}")
    return build_model(spec, {key: each.float() for key, each in tidy(weights, spec).items()}, kernels)
