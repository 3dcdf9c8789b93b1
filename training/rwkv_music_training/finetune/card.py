"""The card of a tuned model: what it is made of, how, and how much better it reads such music."""

from rwkv_music_training.finetune.comparing import Comparison
from rwkv_music_training.finetune.preflight import METHODS, Preflight
from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.telling.live import duration


def card(
    preflight: Preflight, option: str, size: int, comparison: Comparison, progress: Progress, *, samples: bool
) -> str:
    """The README.md of the folder, in Markdown. samples: there are some."""
    config, manifest = preflight.config, preflight.material.corpus.manifest
    about = preflight.base.files.config.about if preflight.base.files.config else {}
    train, held = preflight.material.train, preflight.material.held
    licence = about.get("licence", "not told")
    sources = "\n".join(
        f"| {name} | {told['documents']:,} | {told['licence'] or 'not told'} |"
        for name, told in manifest.sources.items()
    )
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in manifest.left_out.items()) or "none"
    names = "\n".join(f"- {name}" for name in preflight.material.names[:MOST_NAMES])
    more = len(held.lengths) - MOST_NAMES
    return f"""# {config.name}

`{preflight.base.name}` (RWKV-{preflight.base.spec.version}, code `{manifest.tokenizer}`), taught the music of a folder:
{METHODS[config.method.name]}. {size / 1e6:.2f} MB.

    rwkv-music generate {option}

## How much better it reads such music

{comparison.words()}, of {len(held.lengths):,} pieces that it did not learn from, whole, from their beginnings.
{"There was one piece only, so it is judged by what it learnt." if preflight.material.judged_by_itself else ""}
{"`samples/before` and `samples/after` hold what both write from the same beginnings and seeds." if samples else ""}

## How it was made

| what | how much |
|---|---|
| learnt from | {len(train.lengths):,} pieces, {int(train.lengths.sum()):,} tokens |
| files left out | {reasons} |
| steps | {progress.step:,} of {config.data.tokens_per_step:,} tokens; the best at step {progress.best_step:,} |
| learning rate | {config.optimiser.learning_rate:.2g} |
| time | {duration(progress.seconds)} |

`training/config.yaml` says everything, `training/report.html` shows it.

## What it was made of

| source | pieces | licence |
|---|---|---|
{sources}

Licence of the model that it began with: {licence}. Whether what comes out may be shared depends on the music that went
in: small models learn some of it by heart.

Held out:

{names}
{f"- and {more:,} more" if more > 0 else ""}
"""


MOST_NAMES = 20
