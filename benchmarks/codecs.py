"""Every MIDI file of a folder through every code and back: what fails, how long it takes, what is lost.

    python benchmarks/codecs.py FOLDER [--codes notes midi midipiano remi abc] [-o out.json]

A file that a reader or a code refuses in one line is counted with its reason; anything else that is raised is a bug and
is shown. Numbers of losses are means over files, of the notes that a code has words for; those of notes are on their
own clock, what tempo does to it is told apart.
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rwkv_music.works import Played
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.losses import compare
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_tokenizers.words_to_performance import words_to_performance

Back = tuple[int, Performance]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codes", nargs="+", choices=CODES, default=list(CODES))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth file")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in (".mid", ".midi"))
    paths = paths[:: options.every]
    results = {"files": len(paths), "reading": {}, **{name: {} for name in options.codes}}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("reading", *options.codes)}
    refused: dict[str, Counter[str]] = {name: Counter() for name in rows}
    for path in paths:
        through(path, options.codes, rows, refused)
    for name, found in rows.items():
        results[name] = summary(found, refused[name])
        print(json.dumps({name: results[name]}), flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def through(
    path: Path, codes: list[str], rows: dict[str, list[dict[str, Any]]], refused: dict[str, Counter[str]]
) -> None:
    """One file through all codes."""
    begun = time.process_time()
    try:
        piece = read_midi(path.read_bytes())
    except ValueError as error:
        refused["reading"][reason(error)] += 1
        return
    rows["reading"].append({"ms": 1000 * (time.process_time() - begun), "repaired": bool(piece.repairs)})
    for name in codes:
        begun = time.process_time()
        try:
            tokens, after = CODES[name](piece)
        except ValueError as error:
            refused[name][reason(error)] += 1
            continue
        spent = 1000 * (time.process_time() - begun)
        own = asdict(NoteTokenizer().encode_reported(piece)[1]) if name == "notes" else {}
        rows[name].append({"ms": spent, "tokens": tokens, **compare(piece, after).plain(), **own})


def reason(error: Exception) -> str:
    """Why a file was refused, without the numbers of this one."""
    return "".join("#" if sign.isdigit() else sign for sign in str(error))[:100]


def summary(rows: list[dict[str, Any]], refused: Counter[str]) -> dict[str, Any]:
    """Means, and medians of time."""
    found: dict[str, Any] = {"done": len(rows), "refused": dict(refused.most_common(8))}
    if rows:
        times = [row["ms"] for row in rows]
        found |= {"median_ms": round(statistics.median(times), 2), "longest_ms": round(max(times), 1)}
        names = [name for name in rows[0] if name != "ms"]
        found |= {name: round(statistics.fmean(row[name] for row in rows), 3) for name in names}
    return found


def notes(piece: Performance) -> Back:
    tokenizer = NoteTokenizer()
    ids = tokenizer.encode(piece)
    return len(ids), tokenizer.decode(ids)


def words(vocabulary: Any) -> Callable[[Performance], Back]:
    def there_and_back(piece: Performance) -> Back:
        ids = performance_to_words(piece, vocabulary)
        return len(ids), words_to_performance(ids, vocabulary)

    return there_and_back


def remi(piece: Performance) -> Back:
    from rwkv_music_tokenizers.grid_tokens import runner_remi

    tokenizer = runner_remi()
    ids = tokenizer.encode(piece)
    return len(ids), tokenizer.decode(ids)


def midi(piece: Performance) -> Back:
    content = write_performance(piece)
    return len(content), read_midi(content)


def abc(piece: Performance) -> Back:
    text = Played(piece).abc
    return len(text), read_midi(write_midi(read_abc(text), accompaniment=False))


CODES: dict[str, Callable[[Performance], Back]] = {
    "midi file": midi,
    "notes": notes,
    "midi": words(MIDI),
    "midipiano": words(MIDI_PIANO),
    "remi": remi,
    "abc": abc,
}

if __name__ == "__main__":
    main()
