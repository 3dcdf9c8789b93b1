"""Findings as words and tables: the values that fill the pages of a model of ABC, and its config."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rwkv_music_training.judging.measure import LONGEST, Findings
from rwkv_music_training.judging.recipe import training_of
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.soundness import Soundness
from rwkv_music_training.judging.tune_bits import Bits
from rwkv_music_training.pages.sources import MIDI_SOURCES, SOURCES, Source, credits_list, sources_table
from rwkv_music_training.pages.tables import settings, story, table

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
HABITS = (
    "a document is one whole tune from a fresh state; tunes are transposed on the fly to keys that keep the notation "
    "simple."
)
TUNES_SHOWN = 5


def page_values(
    found: Findings, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
) -> dict[str, str]:
    """What the pages say of a model; `config` is its config.json, `size` its weights file in bytes."""
    every, training = found.bits["all"], training_of(config)
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
        "training_story": "\n\n".join(
            [
                *config["trained"].get("before", []),
                story(config, curve, "characters", "tunes", HABITS),
                *config["trained"].get("after", []),
            ]
        ),
        "settings_table": settings(training, config["dimensions"]["ffn"]),
        "credits_table": sources_table(sources_of(config)),
        "picture": picture,
    }


def sources_of(config: Mapping[str, Any]) -> tuple[Source, ...]:
    """The collections that a model learnt from: those of tunes, and those of its config.json's `data.melodies`."""
    return (*SOURCES, *(one for one in MIDI_SOURCES if one.key in config.get("data", {}).get("melodies", ())))


def measured_config(found: Findings, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's config.json says of what was measured, and of whom to thank; `config` is the rest of it."""

    def rounded(bits: Mapping[str, Bits], name: str) -> dict[str, float]:
        return {source: round(getattr(one, name), 4) for source, one in bits.items()}

    sound, shared = found.sound, found.shared
    return {
        "licence": "Apache-2.0",
        "credits": credits_list(sources_of(config)),
        "valid_bits_per_character": rounded(found.bits, "per_character"),
        "valid_body_bits_per_character": rounded(found.bits, "per_body_character"),
        "free_tunes": {
            "tunes": sound.tunes,
            "seed": found.seed,
            "abc2midi_without_error": round(sound.read_without_error, 4),
            "bars_right": round(sound.bars_right, 4),
            "tunes_with_every_bar_right": round(sound.tunes_right, 4),
            "copied_characters_median_90_max": [round(length) for length in shared.lengths(50, 90, 100)],
        },
    }


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


def memorised(found: Findings) -> str:
    """A sentence on memorisation."""

    def half(shared: Sharing) -> str:
        return f"{shared.half_known} of {len(shared.stretches)}"

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


def _fault(message: str) -> str:
    """A fault without its bar: "holds 7/8 in a 6/8 meter"."""
    return message[message.find("holds") :] if "holds" in message else message


def _listed(counted: Sequence[tuple[str, int]]) -> str:
    return "; ".join(f"{what} ({count})" for what, count in counted) or "nothing"
