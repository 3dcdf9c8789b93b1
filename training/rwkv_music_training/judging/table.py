"""Judgements side by side: as JSON data, as Markdown, and as a page of HTML that needs nothing but itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from rwkv_music import __version__
from rwkv_music_training.judging.html import STYLE, html_table
from rwkv_music_training.judging.judgement import Judgement
from rwkv_music_training.judging.statistics import medians

Row = Mapping[str, Any]
Table = Mapping[str, Any]
NONE = "–"
TITLE = "Models side by side"
# Columns: what they are called, where they stand in a row, and how they are written.
COST = (
    ("code", "code", "s"),
    ("parameters", "parameters", "millions"),
    ("bits/character", "cost.bits_per_character", ".3f"),
    ("bits/token", "cost.bits_per_token", ".3f"),
    ("bits/note", "cost.bits_per_note", ".2f"),
    ("bits/second", "cost.bits_per_second", ".1f"),
    ("foreseen", "cost.accuracy", ".1%"),
)
VALID = (
    ("right", "without_masks.valid", ".1%"),
    ("right, masked", "with_masks.valid", ".1%"),
    ("ended", "without_masks.ended", ".1%"),
    ("bars right", "without_masks.bars_right", ".1%"),
    ("tunes with every bar right", "without_masks.tunes_with_every_bar_right", ".1%"),
    ("abc2midi finds no error", "without_masks.abc2midi_without_error", ".1%"),
    ("longest copy: median, 90 %, most", "copied.median_90_max", "list"),
    ("half known", "copied.half_known", "d"),
    ("FMD", "fmd", ".1f"),
)
MUSIC = (
    ("notes", "music.notes", ".0f"),
    ("pitch-class entropy", "music.pitch_class_entropy", ".2f"),
    ("scale consistency", "music.scale_consistency", ".2f"),
    ("groove", "music.groove", ".3f"),
    ("polyphony", "music.polyphony", ".2f"),
    ("empty beats", "music.empty_beats", ".2f"),
    ("repetition", "music.repetition", ".2f"),
    ("notes a second", "music.notes_a_second", ".1f"),
)
NOTE = (
    "Costs are of whole held-out pieces from a fresh state, everything that ends a piece counted. Foreseen is what was "
    "the likeliest id of all. Pieces of a model are right when nothing is wrong with them: they end, are read by our "
    "reader (ABC also by abc2midi), bars add up, and MIDI comes out as it went in; with masks they were held to the "
    "grammar. Copies are the longest run that stands in a training piece in any key (characters of ABC, else notes). "
    "Music is told by medians of muspy's measures over the masked pieces."
)


def table_of(found: Sequence[Judgement]) -> dict[str, Any]:
    """All judgements as JSON data: how they were made, a row each, and the real music of every corpus."""
    real = {}
    for one in found:
        if one.free is not None and one.ground.name not in real:
            real[one.ground.name] = {
                "music": medians(one.ground.counted),
                "copied": one.plain()["copied_real"],
                "pieces": len(one.ground.counted),
            }
    return {
        "version": __version__,
        "trial": asdict(found[0].ground.trial),
        "rows": [one.plain() for one in found],
        "real": real,
    }


def markdown(table: Table) -> str:
    """The table as Markdown."""
    parts = _parts(table, _markdown_table, lambda text: f"## {text}", str)
    return "\n\n".join([f"# {TITLE}", *parts]) + "\n"


def html(table: Table) -> str:
    """The table as a whole page."""
    body = fragment(table)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"<style>{STYLE}</style></head><body><h1>{TITLE}</h1>\n{body}\n</body></html>\n"
    )


def fragment(table: Table) -> str:
    """The table as a part of a page."""
    return "\n".join(
        _parts(table, html_table, lambda text: f"<h2>{escape(text)}</h2>", lambda text: f"<p>{escape(text)}</p>")
    )


def _parts(
    table: Table,
    drawn: Callable[[Sequence[str], Sequence[Sequence[str]]], str],
    headed: Callable[[str], str],
    told: Callable[[str], str],
) -> list[str]:
    parts: list[str] = []
    for corpus in dict.fromkeys(row["corpus"] for row in table["rows"]):
        rows = [row for row in table["rows"] if row["corpus"] == corpus]
        real = table["real"].get(corpus)
        first = rows[0]["cost"]
        parts += [
            headed(f"What {corpus} costs"),
            told(f"{first['pieces']:,} pieces, {first['notes']:,} notes, {first['seconds'] / 60:,.0f} minutes."),
            drawn(
                ("model", "what", *_heads(COST, rows)), [(r["model"], r["about"], *_cells(r, COST, rows)) for r in rows]
            ),
            *_kinds(rows, drawn, told),
        ]
        if real:
            known = {"model": f"real music ({real['pieces']} pieces)", "copied": real["copied"], "music": real["music"]}
            written = rows[0]["without_masks"]["pieces"]
            parts += [headed(f"{written} pieces of their own")]
            for columns in (VALID, MUSIC):
                shown = [known, *rows]
                parts.append(
                    drawn(("model", *_heads(columns, shown)), [(r["model"], *_cells(r, columns, shown)) for r in shown])
                )
    return [*parts, told(NOTE), told(tried(table["trial"]))]


def tried(trial: Mapping[str, Any]) -> str:
    """How much was read and written, in words."""

    def at_most(count: int | None, things: str) -> str:
        return f"at most {count:,} {things}" if count else f"all {things}"

    known = "no training pieces" if trial["known"] is None else at_most(trial["known"], "training pieces")
    return (
        f"Read were {at_most(trial['pieces'], 'pieces')} of the split {trial['split']}, tier {', '.join(trial['tiers'])}, "
        f"{at_most(trial['longest_read'], 'tokens')} of each; n-grams and copies know {known}. Written were "
        f"{trial['written']:,} pieces of at most {trial['longest_written']:,} tokens, with masks and without, seed "
        f"{trial['seed']}. Made by rwkv-music evaluate."
    )


def _kinds(rows: Sequence[Row], drawn: Callable, told: Callable[[str], str]) -> list[str]:
    """How often each kind of token was foreseen, a table for every code."""
    parts = []
    for code in dict.fromkeys(row["code"] for row in rows):
        mine = [row for row in rows if row["code"] == code]
        names = list(dict.fromkeys(name for row in mine for name in row["cost"]["kinds"]))
        cells = [
            (
                name,
                f"{mine[0]['cost']['kinds'].get(name, {}).get('tokens', 0):,}",
                *(_kind_cell(row["cost"]["kinds"].get(name)) for row in mine),
            )
            for name in names
        ]
        parts += [
            told(f"Kinds of tokens of {code}: how often foreseen, and bits a token."),
            drawn(("kind", "tokens", *(row["model"] for row in mine)), cells),
        ]
    return parts


def _kind_cell(kind: Row | None) -> str:
    return NONE if kind is None else f"{kind['accuracy']:.1%}, {kind['bits_per_token']:.2f}"


def _heads(columns: Sequence[tuple[str, str, str]], rows: Sequence[Row]) -> list[str]:
    return [name for name, path, _ in columns if _anywhere(path, rows)]


def _cells(row: Row, columns: Sequence[tuple[str, str, str]], rows: Sequence[Row]) -> list[str]:
    return [_written(_value(row, path), form) for _, path, form in columns if _anywhere(path, rows)]


def _anywhere(path: str, rows: Sequence[Row]) -> bool:
    return any(_value(row, path) is not None for row in rows)


def _value(row: Row, path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _written(value: Any, form: str) -> str:
    if value is None:
        return NONE
    if form == "millions":
        return f"{value / 1e6:.2f} M"
    return ", ".join(map(str, value)) if form == "list" else format(value, form)


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
