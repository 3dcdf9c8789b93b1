"""What the pages of all models are made of: templates, tables, and the settings of a run."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from rwkv_music_training.judging.recipe import training_of

# Settings of a run that say nothing of the model it makes.
UNTOLD = {
    "name",
    "corpus",
    "prompts",
    "track",
    "read_every",
    "keep",
    "window",
    "tokenizer",
    "train_file",
    "valid_file",
    "evaluate_every",
    "checkpoint_seconds",
    "patience",
    "sample_prompts",
}

# Settings that mean nothing for ABC.
NOTES_ONLY = {"clock", "source_power", "valid_tokens"}


def fill(template: str, values: Mapping[str, str]) -> str:
    """A page of this package with its places filled."""
    text = (resources.files("rwkv_music_training") / "pages" / template).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def settings(training: Mapping[str, Any], ffn: int) -> str:
    """The settings of a run; of steps and minutes the one that counted."""
    unused = "steps" if training.get("minutes", 0) > 0 else "minutes"
    told = {**training, "ffn": ffn}
    untold = UNTOLD | {unused} | (NOTES_ONLY if training.get("tokenizer", "abc") == "abc" else set())
    rows = [(name, json.dumps(value)) for name, value in told.items() if name not in untold]
    return table(("setting", "value"), rows)


def story(config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], unit: str, pieces: str, habits: str) -> str:
    """How long it was trained, on what, and which reading was kept; `unit` and `pieces` are what it reads, in words."""
    trained, last = config["trained"], curve[-1]
    seconds = float(last["seconds"])
    kind = "a moving average" if training_of(config).get("average") else "the last ones"
    return (
        f"{int(last['tokens']) / 1e6:.1f} million {unit} ({float(last['epoch']):.1f} epochs, {int(last['step']):,} "
        f"steps) in {seconds / 60:.0f} minutes, {int(last['tokens']) / seconds:,.0f} {unit} a second, on "
        f"{trained['machine']}. The weights are {kind} at the best reading of the validation {pieces} "
        f"(step {trained['steps']:,}). Official RWKV-7 initialisation, AdamW groups and L2Wrap; {habits}"
    )
