"""Tell what a piece is in the tokens of a code, one piece a line, and what it loses on the way."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rwkv_music.commands.arguments import number
from rwkv_music.errors import UsageError
from rwkv_music.files import read_bytes
from rwkv_music.prompts import Source, read_source, sounding, written
from rwkv_music.reading.pieces import LIMITS, MIDI
from rwkv_music.terminal import show, tell

CODES = ("abc", "notes", "midi", "midipiano", "midi-v2", "remi", "mmm")
REFERENCE = ("midi", "midipiano", "midi-v2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("piece", metavar="FILE", help="ABC, MIDI or MusicXML; - reads ABC from standard input")
    parser.add_argument(
        "-t", "--tokenizer", choices=CODES, help="the code (default: abc for ABC, notes for everything else)"
    )
    parser.add_argument("--tune", type=number(1, 10**9), metavar="N", help="which tune of a tunebook")
    parser.add_argument("--file", type=Path, help="a published tokenizer's own file, which mmm needs")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--ids", action="store_true", help="numbers (default: text)")
    form.add_argument("--text", action="store_true", help="words")
    form.add_argument("--report", action="store_true", help="what the code loses of the piece, in numbers, as JSON")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="the very text that the published tool makes of a MIDI file, pieces split at 10 s of silence",
    )


def run(args: argparse.Namespace) -> int:
    """Tell of one piece. Raises UserError, NotationError or OSError."""
    if args.reference:
        return _reference(args)
    source = read_source(args.piece, args.tune)
    for remark in source.remarks:
        tell(remark)
    name = args.tokenizer or ("abc" if source.text is not None else "notes")
    ids, words, report = _abc(source) if name == "abc" else _played(source, name, args.file)
    if args.report:
        show(json.dumps({"piece": args.piece, "tokenizer": name, "tokens": len(ids), **report()}, indent=1) + "\n")
    else:
        show((" ".join(map(str, ids)) if args.ids else words) + "\n")
    return 0


def _reference(args: argparse.Namespace) -> int:
    from rwkv_music.manuscripts.words import RULES
    from rwkv_music_tokenizers.midi_reader import read_events
    from rwkv_music_tokenizers.midi_to_words import EVERY_PIECE, training_pieces

    name = args.tokenizer or "midi"
    if name not in REFERENCE or args.report:
        raise UsageError(f"--reference is for --tokenizer {', '.join(REFERENCE)}, as --text or --ids")
    content = read_bytes(Path(args.piece), LIMITS[MIDI])
    words = RULES[name]
    for piece in training_pieces(read_events(content), words, EVERY_PIECE):
        show((" ".join(map(str, piece)) if args.ids else words.decode(piece, specials=True)) + "\n")
    return 0


def _abc(source: Source) -> tuple[list[int], str, Callable[[], dict[str, Any]]]:
    """Ids, text and losses of a tune as models of ABC learn it; a line end is shown as \\n."""
    from rwkv_music_tokenizers.abc_tokens import AbcTokenizer, training_text

    text = training_text(written(source))

    def report() -> dict[str, Any]:
        from rwkv_music.works import Tune
        from rwkv_music_tokenizers.losses import compare

        return compare(sounding(source), Tune(text).performance).plain()

    return AbcTokenizer().document(text), text.replace("\n", "\\n"), report


def _played(source: Source, name: str, file: Path | None) -> tuple[list[int], str, Callable[[], dict[str, Any]]]:
    from rwkv_music_tokenizers.losses import compare

    piece = sounding(source)
    if name == "notes":
        from rwkv_music_tokenizers.note_tokens import NoteTokenizer

        notes = NoteTokenizer()
        found, losses = notes.encode_reported(piece)
        return found.tolist(), notes.text(found), lambda: asdict(losses)
    if name in REFERENCE:
        from rwkv_music.manuscripts.words import RULES
        from rwkv_music_tokenizers.performance_to_words import left_out, performance_to_words
        from rwkv_music_tokenizers.words_to_performance import words_to_performance

        words = RULES[name]
        ids = performance_to_words(piece, words)
        missing = [track.program for track in left_out(piece, words)]
        text = words.decode(ids, specials=True)

        def report() -> dict[str, Any]:
            return {**compare(piece, words_to_performance(ids, words)).plain(), "programs_left_out": missing}

        return ids, text, report
    from rwkv_music_tokenizers.grid_tokens import load_mmm, runner_remi

    if name == "mmm" and file is None:
        raise UsageError("--tokenizer mmm needs --file: the tokenizer.json that came with the model")
    grid = runner_remi() if name == "remi" or file is None else load_mmm(file)
    ids = grid.encode(piece)
    vocabulary: Any = grid.tokenizer.vocab
    names = {number: word for word, number in vocabulary.items()}
    return (
        ids,
        " ".join(str(names.get(number, number)) for number in ids),
        lambda: compare(piece, grid.decode(ids)).plain(),
    )
