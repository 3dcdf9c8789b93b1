"""What a run keeps of itself and takes up again: its tensors, counters, config, and what tells the order of its data."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import CheckpointError, Found

# Parts of a config that say what a checkpoint is, and which data a step reads; the rest may change at a resume.
FIXED = ("seed", "base", "shape", "method", "data")
# But for where the corpus lies, as its documents are compared, and how much is read by the way.
FREE = ("data.corpus", "data.valid_tokens")
GENERATOR = "generator"


def flat(state: Mapping[str, Any], before: str = "") -> dict[str, Tensor]:
    """The tensors of nested mappings, by the names on the way to them: "optimiser/blocks.0.att.w0/exp_avg"."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        tensors |= {before + name: value} if isinstance(value, Tensor) else flat(value, f"{before}{name}/")
    return tensors


class Keeping:
    """A run's checkpoints: see `loop.Keeper`."""

    def __init__(self, checkpoints: Checkpoints, config: TrainingConfig, lesson: Lesson):
        self._checkpoints = checkpoints
        self._config = config
        self._about = {
            "tokenizer": lesson.tokenizer,
            "vocabulary": lesson.vocabulary,
            "origin": lesson.origin,
            "documents": fingerprint_of(lesson.train),
        }

    def save(self, step: int, state: Mapping[str, Any], progress: Progress) -> None:
        """Keep a copy of the state as it is now, in the background."""
        counters = {name: value if math.isfinite(value) else None for name, value in asdict(progress).items()}
        told = {"progress": counters, "config": self._config.model_dump(mode="json"), "lesson": self._about}
        best = progress.best_step == step and math.isfinite(progress.best)
        # Nothing in a run draws from it; what watches the run may.
        tensors = flat(state) | {GENERATOR: torch.get_rng_state()}
        self._checkpoints.save(step, tensors, told, best=best)

    def close(self) -> None:
        """Come back when everything is written. Raises CheckpointError when the last checkpoint could not be."""
        self._checkpoints.close()

    def resume(self, state: Mapping[str, Any]) -> Progress | None:
        """Load the newest whole checkpoint into the tensors of `state`; None where there is none.

        Raises CheckpointError where it is of another run: other weights, other data, or the same in another order.
        """
        found = self._checkpoints.newest()
        if found is None:
            return None
        self._check(found)
        generator = torch.get_rng_state()
        tensors = flat(state)
        surplus = sorted(name for name in found.tensors.keys() - tensors.keys() if not name.startswith("carried/"))
        if surplus and surplus != [GENERATOR]:
            raise CheckpointError(
                f"{found.path}: '{surplus[0]}' has no place in this run: resume with the config it was begun with"
            )
        self._checkpoints.load(found, tensors | {GENERATOR: generator})
        torch.set_rng_state(generator)
        counters = {name: value for name, value in found.told["progress"].items() if value is not None}
        return Progress(**counters)

    def _check(self, found: Found) -> None:
        now, then = self._config.model_dump(mode="json"), found.told["config"]
        for name in FIXED:
            for field, old, new in _leaves(name, then.get(name), now[name]):
                if old != new and field not in FREE:
                    raise CheckpointError(
                        f"{found.path}: {field} was {old}, and is {new} now; "
                        "resume with the config that the run was begun with, or begin in another folder"
                    )
        if found.told["lesson"]["documents"] != self._about["documents"]:
            raise CheckpointError(
                f"{found.path}: the corpus holds other documents now, so its order is lost: begin in another folder"
            )


def fingerprint_of(documents: Documents) -> str:
    """What tells whether documents are the same ones in the same order: a SHA-256 of their lengths and sources."""
    digest = hashlib.sha256(documents.lengths.astype("<i8").tobytes())
    digest.update("\n".join(str(source) for source in documents.sources).encode())
    return digest.hexdigest()


def _leaves(name: str, then: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """The fields of a part of a config by their names with dots, as they were and as they are."""
    if isinstance(then, dict) and isinstance(now, dict):
        for field in sorted(then.keys() | now.keys()):
            yield from _leaves(f"{name}.{field}", then.get(field), now.get(field))
    else:
        yield name, then, now
