"""Spoiled MIDI files thrown at the reader and at every code, for as long as one likes: no crash, no hang, bounded memory.

    python benchmarks/fuzz_midi.py FOLDER --minutes 10

Files of the folder are spoiled (bytes flipped, cut, doubled, pasted from others), or made of nothing but chance. What a
reader or a code refuses in one line is counted; anything else that is raised is shown and ends the run with 1.
"""

import argparse
import json
import random
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from rwkv_music_tokenizers.midi_reader import read_events, read_midi
from rwkv_music_tokenizers.midi_to_words import EVERY_PIECE, training_pieces
from rwkv_music_tokenizers.midi_words import MIDI
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_tokenizers.words_to_performance import words_to_performance

LONGEST = 20_000
NOTES = NoteTokenizer()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    files = sorted(path for path in options.folder.rglob("*.mid") if path.stat().st_size <= LONGEST)
    seeds = [path.read_bytes() for path in dice.sample(files, min(400, len(files)))]
    told: Counter[str] = Counter()
    slowest, before = 0.0, peak()
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        content = spoiled(dice, seeds)
        begun = time.process_time()
        try:
            told[through(content)] += 1
        except Exception:
            Path("spoiled.mid").write_bytes(content)
            traceback.print_exc()
            print("kept as spoiled.mid", file=sys.stderr)
            return 1
        slowest = max(slowest, time.process_time() - begun)
    result: dict[str, Any] = {"files": sum(told.values()), "told": dict(told), "slowest_s": round(slowest, 3)}
    print(json.dumps({**result, "peak_mib": round(peak()), "peak_before_mib": round(before)}))
    return 0


def peak() -> float:
    """The most memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def spoiled(dice: random.Random, seeds: list[bytes]) -> bytes:
    """A file in which something is wrong, now and then everything."""
    if dice.random() < 0.05:
        return dice.choice((b"", b"MThd", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk")) + dice.randbytes(dice.randrange(400))
    content = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(max(1, len(content)))
        match dice.randrange(6):
            case 0:
                content[place : place + 1] = bytes((dice.choice((0, 0x7F, 0x80, 0xFF, dice.randrange(256))),))
            case 1:
                del content[place : place + dice.choice((1, 2, 8, 100))]
            case 2:
                content[place:place] = dice.randbytes(dice.choice((1, 2, 4)))
            case 3:
                other = dice.choice(seeds)
                start = dice.randrange(len(other))
                content[place:place] = other[start : start + dice.randrange(200)]
            case 4:
                del content[place:]
            case 5:
                content[place : place + 4] = dice.choice(
                    (b"\xff\xff\xff\xff", b"\xff\x51\x03\0", b"\0\0\0\0", b"\xf0\x7f\xff\xff")
                )
    return bytes(content)


def through(content: bytes) -> str:
    """A file through the reader and all codes; what became of it."""
    try:
        piece = read_midi(content)
        stream = read_events(content)
    except ValueError:
        return "refused by the reader"
    again = read_midi(write_performance(piece))
    # Of notes of one pitch that lie over each other, some end earlier or go; what can be written once can be twice.
    assert again.count <= piece.count, "a note came from nowhere"
    assert read_midi(write_performance(again)).count == again.count, "a note was lost between writing and reading"
    try:
        NOTES.decode(NOTES.encode(piece))
        words_to_performance(performance_to_words(piece, MIDI), MIDI)
        training_pieces(stream, MIDI, EVERY_PIECE)
    except ValueError:
        return "refused by a code"
    return "mended" if piece.repairs else "read"


if __name__ == "__main__":
    sys.exit(main())
