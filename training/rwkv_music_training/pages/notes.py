"""Findings as words and tables: the values that fill the pages of a model of notes, and its config."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rwkv_music_training.judging.note_bits import NoteBits
from rwkv_music_training.judging.note_measure import NoteFindings, Written
from rwkv_music_training.judging.readings import told
from rwkv_music_training.judging.recipe import training_of
from rwkv_music_training.judging.statistics import Statistics
from rwkv_music_training.pages.sources import MIDI_SOURCES, Source, credits_list, sources_table
from rwkv_music_training.pages.tables import settings, story, table

HABITS = (
    "a document is a window of a piece that begins at a bar line, from a fresh state, with the header that holds there; "
    "windows are moved to another key by a lookup of their tokens."
)
# What is counted of a piece, in words.
COUNTED: tuple[tuple[str, Callable[[Statistics], float], str], ...] = (
    ("notes", lambda one: one.notes, ".0f"),
    ("seconds", lambda one: one.seconds, ".0f"),
    ("notes a second", lambda one: one.notes_a_second, ".2f"),
    ("pitch-class entropy, bits", lambda one: one.pitch_class_entropy, ".2f"),
    ("notes in the best scale", lambda one: one.scale_consistency, ".2f"),
    ("likeness of neighbouring bars' onsets", lambda one: one.groove, ".2f"),
    ("bars that stood before", lambda one: one.repetition, ".2f"),
    ("median length of a note, quarters", lambda one: one.length, ".2f"),
    ("pitches that sound at once", lambda one: one.polyphony, ".2f"),
)


def note_page_values(
    found: NoteFindings, config: Mapping[str, Any], curve: Sequence[Mapping[str, str]], size: int, picture: str
) -> dict[str, str]:
    """What the pages say of a model; `config` is its config.json, `size` its weights file in bytes."""
    every, training = found.bits["all"], training_of(config)
    return {
        "name": str(config["name"]),
        "parameters": f"{config['parameters']:,}",
        "layers": str(training["layers"]),
        "width": str(training["width"]),
        "vocabulary": str(config["dimensions"]["vocabulary"]),
        "max_length": f"{training['max_length']:,}",
        "megabytes": f"{size / 1e6:.1f}",
        "train_pieces": f"{len(found.train):,}",
        "train_hours": f"{found.train.seconds.sum() / 3600:.0f}",
        "train_notes": f"{found.train.notes.sum() / 1e6:.1f}",
        "valid_pieces": str(len(found.real.documents)),
        "token_bits": f"{every.per_token:.3f}",
        "note_bits": f"{every.per_note:.2f}",
        "second_bits": f"{every.per_second:.1f}",
        "sources_table": by_source(found.bits),
        "data_table": holdings(found),
        "source_power": str(training["source_power"]),
        "count": str(len(found.own.documents)),
        "seed": str(found.seed),
        "ended": str(found.own.ended),
        "free": str(found.free),
        "in_order": f"{found.in_order:.0%}",
        "temperature": str(training["temperature"]),
        "top_p": str(training["top_p"]),
        "kinds": ", ".join(f"{kind} {count}" for kind, count in found.own.kinds().items()),
        "statistics_table": counted(found.own, found.real, str(config["name"])),
        "copied_table": copied(found.own, found.real, str(config["name"])),
        "half_known": f"{found.own.shared.half_known} of {len(found.own.documents)}",
        "half_known_real": f"{found.real.shared.half_known} of {len(found.real.documents)}",
        "training_story": "\n\n".join(
            [*config["trained"].get("before", []), story(config, curve, "tokens", "windows", HABITS)]
        ),
        "settings_table": settings(training, config["dimensions"]["ffn"]),
        "credits_table": sources_table(credited(found)),
        "picture": picture,
    }


def by_source(readings: Mapping[str, NoteBits]) -> str:
    """Bits by source, and of all together last."""
    rows = [(source, bits) for source, bits in readings.items() if source != "all"]
    return table(
        ("source", "pieces' windows", "notes", "minutes", "bits/token", "bits/note", "bits/second"),
        [
            (
                source,
                f"{bits.windows:,}",
                f"{bits.notes:,}",
                f"{bits.seconds / 60:.0f}",
                f"{bits.per_token:.3f}",
                f"{bits.per_note:.2f}",
                f"{bits.per_second:.1f}",
            )
            for source, bits in [*rows, ("**all**", readings["all"])]
        ],
    )


def holdings(found: NoteFindings) -> str:
    """What the training data holds of each source, and how much of the training was taken from it."""
    corpus, rows = found.train, []
    for number, name in enumerate(corpus.sources):
        mine = corpus.source == number
        rows.append(
            (
                name,
                f"{int(mine.sum()):,}",
                f"{corpus.seconds[mine].sum() / 3600:.0f}",
                f"{corpus.notes[mine].sum() / 1e6:.2f} M",
                f"{corpus.tokens[number] / corpus.tokens.sum():.0%}",
                f"{found.shares[number]:.0%}",
            )
        )
    return table(("source", "pieces", "hours", "notes", "share of the tokens", "share of what was read"), rows)


def counted(own: Written, real: Written, name: str) -> str:
    """What is counted of the model's pieces beside real ones: medians, and between which values 80 % of them lie."""

    def told_of(written: Written, count: Callable[[Statistics], float], form: str) -> str:
        low, middle, high = np.nanpercentile([count(one) for one in written.statistics], (10, 50, 90))
        return f"{middle:{form}} ({low:{form}} to {high:{form}})"

    rows = [(label, *(told_of(one, count, form) for one in (own, real))) for label, count, form in COUNTED]
    return table(("median (10 to 90 %)", f"{len(own.documents)} pieces of {name}", "real validation pieces"), rows)


def copied(own: Written, real: Written, name: str) -> str:
    """Distributions of the copied stretches; n steps are n + 1 notes."""
    percents = {"median": 50, "90 % of pieces below": 90, "longest": 100}
    pair = (own.shared, real.shared)
    rows = [
        (f"{label}, notes", *(f"{one.lengths(percent)[0] + 1:.0f}" for one in pair))
        for label, percent in percents.items()
    ]
    rows += [
        (f"{label}, share of the piece", *(f"{one.shares(percent)[0]:.0%}" for one in pair))
        for label, percent in percents.items()
    ]
    return table(("longest copied stretch", f"pieces of {name}", "real validation pieces"), rows)


def credited(found: NoteFindings) -> list[Source]:
    """The sources of the training data that there is something to say of."""
    return [source for source in MIDI_SOURCES if source.key in found.train.sources]


def measured_note_config(found: NoteFindings) -> dict[str, Any]:
    """What a model's config.json says of what was measured, and of whom to thank."""
    shared = found.own.shared
    return {
        "licence": "Apache-2.0",
        "credits": credits_list(credited(found)),
        **told(found.bits),
        "own_pieces": {
            "pieces": len(found.own.documents),
            "seed": found.seed,
            "ended": found.own.ended,
            "in_order_without_grammar": round(found.in_order, 4),
            "copied_notes_median_90_max": [round(length) + 1 for length in shared.lengths(50, 90, 100)],
        },
    }
