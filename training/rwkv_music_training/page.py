"""Findings as words and tables: the values that fill the pages of a model."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from rwkv_music_training.evaluate import Bits
from rwkv_music_training.judge import Soundness
from rwkv_music_training.measure import LONGEST, Findings, Sharing
from rwkv_music_training.sources import sources_table

# Bits a character on the validation tunes of tiers A and B, from the README of the data.
BASELINES = (
    ("Kneser-Ney 6-gram", "2.31"),
    ("xz -9e", "1.96"),
    ("PPMd, order 16", "1.77"),
    ("8-gram with a match model within the tune", "1.74"),
    ("RWKV-7 with 0.9 M parameters, 13 M characters read (music alone 1.155)", "1.081"),
)
BASELINE_BY_SOURCE = {
    "polifonia/cre_corpus": 0.86,
    "nottingham (jukedeck)": 0.99,
    "music21/ryansMammoth": 1.06,
    "music21/oneills1850": 1.10,
    "music21/airdsAirs": 1.27,
    "00sapo/OpenEWLD": 1.31,
}
# Settings of a run that say nothing of the model it makes.
UNTOLD = {"name", "train_file", "valid_file", "evaluate_every", "checkpoint_seconds", "patience", "sample_prompts"}
TUNES_SHOWN = 5


def fill(template: str, values: Mapping[str, str]) -> str:
    """A page of this package with its places filled."""
    text = (resources.files("rwkv_music_training") / "pages" / template).read_text(encoding="utf-8")
    return Template(text).substitute(values)


def page_values(
    found: Findings, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
) -> dict[str, str]:
    """What the pages say of a model; `config` is its config.json, `size` its weights file in bytes."""
    every, training = found.bits["all"], config["training"]
    return {
        "parameters": f"{config['parameters']:,}",
        "layers": str(training["layers"]),
        "width": str(training["width"]),
        "max_length": f"{training['max_length']:,}",
        "megabytes": f"{size / 1e6:.1f}",
        "train_tunes": f"{found.known_tunes:,}",
        "known_texts": f"{found.known_texts:,}",
        "valid_tunes": str(every.tunes),
        "valid_characters": f"{every.characters:,}",
        "bits": f"{every.per_character:.3f}",
        "text_bits": f"{every.per_text_character:.3f}",
        "body_bits": f"{every.per_body_character:.3f}",
        "sources_table": by_source(found.bits_all_tiers, found.bits),
        "baselines_table": baselines(found.bits_all_tiers["all"]),
        "count": str(len(found.tunes)),
        "seed": str(found.seed),
        "longest": f"{LONGEST:,}",
        "unfinished": str(found.unfinished),
        "sound_table": soundness(found.sound, found.sound_real),
        "read_all_tiers": f"{found.sound_all_tiers.read_without_error:.1%}",
        "errors": _listed(found.sound.kinds_of_errors()),
        "errors_real": _listed(found.sound_real.kinds_of_errors()),
        "faults": _listed(
            Counter(fault for one in found.sound.verdicts for fault in map(_fault, one.faults)).most_common(8)
        ),
        "copied_table": copied(found.shared, found.shared_real),
        "memorised": memorised(found),
        "five_tunes": "\n\n".join(shown(found, number) for number in range(min(TUNES_SHOWN, len(found.tunes)))),
        "training_story": story(config, curve),
        "settings_table": settings(training, config["dimensions"]["ffn"]),
        "credits_table": sources_table(),
        "picture": picture,
    }


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are set right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_source(all_tiers: Mapping[str, Bits], tier_a: Mapping[str, Bits]) -> str:
    """Bits by source, tier A and its sum first."""

    def row(label: str, bits: Bits, baseline: str = "") -> tuple[str, ...]:
        costs = (bits.per_character, bits.per_text_character, bits.per_body_character)
        return (label, str(bits.tunes), f"{bits.characters:,}", *(f"{cost:.3f}" for cost in costs), baseline)

    def rows(sources: Mapping[str, Bits], tier: str) -> list[tuple[str, ...]]:
        told = {source: f"{bits:.2f}" for source, bits in BASELINE_BY_SOURCE.items()}
        return [row(f"{source} ({tier})", bits, told.get(source, "")) for source, bits in sources.items()]

    inside = {source: bits for source, bits in tier_a.items() if source != "all"}
    outside = {source: bits for source, bits in all_tiers.items() if source not in tier_a}
    head = ("source (tier)", "tunes", "characters", "bits/char", "without end tokens", "music alone", "0.9 M baseline")
    return table(
        head,
        [
            *rows(inside, "A"),
            row("**tier A**", tier_a["all"]),
            *rows(outside, "B, not trained on"),
            row("**tiers A and B**", all_tiers["all"], "1.081"),
        ],
    )


def baselines(bits: Bits) -> str:
    """Our cost on all tiers below that of other predictors."""
    ours = (f"**abc-folk** (music alone {bits.per_body_character:.3f})", f"**{bits.per_character:.3f}**")
    return table(("predictor", "bits/char"), [*BASELINES, ours])


def soundness(sound: Soundness, real: Soundness) -> str:
    """The model's tunes beside real ones."""
    pair = (sound, real)
    return table(
        ("", f"{sound.tunes} tunes of abc-folk", f"{real.tunes} real tunes"),
        [
            ("abc2midi reads without an error", *(f"{one.read_without_error:.1%}" for one in pair)),
            ("bars full, or short at a section boundary", *(f"{one.bars_right:.1%}" for one in pair)),
            ("bars full", *(f"{one.bars.full / max(1, one.bars.total):.1%}" for one in pair)),
            ("tunes with every bar right", *(f"{one.tunes_right:.1%}" for one in pair)),
            ("bars", *(f"{one.bars.total:,}" for one in pair)),
        ],
    )


def copied(shared: Sharing, real: Sharing) -> str:
    """Distributions of the copied stretches."""
    percents = {"median": 50, "90 % of tunes below": 90, "longest": 100}
    rows = [
        (f"{name}, characters", *(f"{one.lengths(percent)[0]:.0f}" for one in (shared, real)))
        for name, percent in percents.items()
    ]
    rows += [
        (f"{name}, share of the tune's music", *(f"{one.shares(percent)[0]:.0%}" for one in (shared, real)))
        for name, percent in percents.items()
    ]
    return table(("longest copied stretch", "tunes of abc-folk", "real validation tunes"), rows)


def settings(training: Mapping[str, Any], ffn: int) -> str:
    """The settings of a run; of steps and minutes the one that counted."""
    unused = "steps" if training["minutes"] > 0 else "minutes"
    told = {**training, "ffn": ffn}
    rows = [(name, json.dumps(value)) for name, value in told.items() if name not in UNTOLD and name != unused]
    return table(("setting", "value"), rows)


def memorised(found: Findings) -> str:
    """A sentence on memorisation."""

    def half(shared: Sharing) -> str:
        return f"{sum(one.share >= 0.5 for one in shared.stretches)} of {len(shared.stretches)}"

    return (
        f"So {half(found.shared)} tunes of the model repeat a known tune for at least half of their music in one stretch "
        f"(real validation tunes: {half(found.shared_real)})."
    )


def shown(found: Findings, number: int) -> str:
    """One tune whole, with its verdict."""
    verdict, stretch = found.sound.verdicts[number], found.shared.stretches[number]
    judged = "every bar right" if verdict.every_bar_right else "; ".join(verdict.faults) or "no bars"
    read = "; ".join(verdict.errors) or "abc2midi finds no error"
    told = f"{number + 1}: {judged}; {read}; longest copied stretch {stretch.length} of {stretch.whole} characters."
    return f"{told}\n\n```abc\nX:{number + 1}\n{found.tunes[number].rstrip()}\n```"


def story(config: Mapping[str, Any], curve: Sequence[Mapping[str, str]]) -> str:
    """How long it was trained, on what, and which reading was kept."""
    trained, last = config["trained"], curve[-1]
    seconds = float(last["seconds"])
    kind = "a moving average" if config["training"]["average"] else "the last ones"
    return (
        f"{int(last['tokens']) / 1e6:.1f} million characters ({float(last['epoch']):.1f} epochs, {int(last['step']):,} "
        f"steps) in {seconds / 60:.0f} minutes, {int(last['tokens']) / seconds:,.0f} characters a second, on "
        f"{trained['machine']}. The weights are {kind} at the best reading of the validation tunes "
        f"(step {trained['steps']:,}). Official RWKV-7 initialisation, AdamW groups and L2Wrap; a document is one whole "
        f"tune from a fresh state; tunes are transposed on the fly to keys that keep the notation simple."
    )


def _fault(message: str) -> str:
    """A fault without its bar: "holds 7/8 in a 6/8 meter"."""
    return message[message.find("holds") :] if "holds" in message else message


def _listed(counted: Sequence[tuple[str, int]]) -> str:
    return "; ".join(f"{what} ({count})" for what, count in counted) or "nothing"
