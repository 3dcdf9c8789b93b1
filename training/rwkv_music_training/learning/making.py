"""Making the learner of a run: from scratch at the official first weights, or from a model that there is."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.library import find_model
from rwkv_music.model.initial import initial_weights, standard_spec
from rwkv_music.model.versions import read_spec, shapes_of, tidy
from rwkv_music_kernels.contract import Kernels
from rwkv_music_training.learning.config import ConfigError, TrainingConfig
from rwkv_music_training.learning.methods import method_of
from rwkv_music_training.learning.module import Learner
from rwkv_music_training.learning.teaching import open_teachers


def make_learner(
    config: TrainingConfig, vocabulary: int, kernels: Kernels, weights: Mapping[str, Tensor] | None = None
) -> Learner:
    """The learner of a run, on the CPU, the same on every process.

    weights: of the model to begin with, instead of the one that `config.base` names or a new one. Raises ConfigError
    where the model does not know as many ids as the music has, or a teacher knows others; CheckpointError and ModelError
    like `load_weights`.
    """
    generator = torch.Generator().manual_seed(config.seed)
    if weights is None and config.base is not None:
        weights = load_weights(find_model(config.base).weights)
    if weights is None:
        shape = config.shape
        spec = standard_spec(shape.version, shape.layers, shape.width, vocabulary, shape.head_size, shape.ffn)
        weights = initial_weights(spec, generator)
    else:
        spec = read_spec(shapes_of(weights))
        weights = tidy(weights, spec)
    if spec.vocabulary < vocabulary:
        raise ConfigError(
            f"base: {config.base} knows {spec.vocabulary} ids, the music has {vocabulary}: choose another"
        )
    method = method_of(config.method)
    teachers = open_teachers(config.teaching, spec.vocabulary, kernels)
    return Learner(config, spec, method.parameters(weights, spec, generator), method, kernels, teachers)
