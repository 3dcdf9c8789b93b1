"""What is going to happen, as a table, before it begins: the music, what was left out, what learns, how long it takes."""

from dataclasses import dataclass

from rwkv_music_training.corpus.report import table
from rwkv_music_training.finetune.base import Base
from rwkv_music_training.finetune.material import Material
from rwkv_music_training.finetune.trial import Trial
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.telling.live import duration

METHODS = {
    "state": "the state before the first note (a style)",
    "lora": "low-rank additions to the weights",
    "full": "all weights",
}


@dataclass(frozen=True)
class Preflight:
    """All that is known before the run."""

    base: Base
    material: Material
    config: TrainingConfig
    trial: Trial
    # Steps that would be taken if there were time for them.
    wished: int

    @property
    def readings(self) -> int:
        """How often the pieces held out are read."""
        return -(-self.config.schedule.steps // self.config.habits.read_every)

    @property
    def seconds(self) -> float:
        """How long learning takes at the most."""
        return self.trial.seconds(self.config.schedule.steps, self.readings)

    def text(self) -> str:
        """The tables."""
        manifest, config = self.material.corpus.manifest, self.config
        train, held = self.material.train, self.material.held
        left = manifest.found - manifest.kept
        reasons = [(reason, f"{count:,}") for reason, count in manifest.left_out.items()]
        steps, per_step = config.schedule.steps, config.data.tokens_per_step
        times = steps * per_step / max(1, int(train.lengths.sum()))
        shortened = f" (of {self.wished:,}, for want of time)" if steps < self.wished else ""
        learnt = f"{METHODS[config.method.name]}: {self.trial.learning:,} of {self.trial.numbers:,} numbers"
        if config.method.name == "lora":
            learnt += f", rank {config.method.rank}"
        rows = [
            ("model", f"{self.base.name} (RWKV-{self.base.spec.version}, {manifest.tokenizer})"),
            ("learns", learnt),
            ("from", f"{_pieces(len(train.lengths))}, {int(train.lengths.sum()):,} tokens"),
            ("judged by", f"{_pieces(len(held.lengths))} held out, {int(held.lengths.sum()):,} tokens"),
            ("steps", f"{steps:,}{shortened} of {per_step:,} tokens, {times:.1f} times through the music"),
            ("learning rate", f"{config.optimiser.learning_rate:.2g}"),
            *([("memory", f"{self.trial.memory / 2**20:,.0f} MiB")] if self.trial.memory else []),
            ("time", f"{duration(self.seconds)} at the most ({self.trial.step_seconds:.2f} s a step)"),
        ]
        if self.material.judged_by_itself:
            rows[3] = ("judged by", "the only piece there is: it will seem better than it is")
        tables = [_facts(rows), table(("left out", f"{left:,}"), reasons) if left else "nothing left out\n"]
        return "\n".join(tables)


def _pieces(count: int) -> str:
    return f"{count:,} piece{'s' * (count != 1)}"


def _facts(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in rows)
