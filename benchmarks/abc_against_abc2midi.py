"""How far our reading of ABC agrees with abc2midi's (the binary that symusic carries): prints JSON.

    python benchmarks/abc_against_abc2midi.py TUNES.jsonl.zst [--limit N]

TUNES holds one JSON object a line with "id" and "abc", compressed with zstandard or plain. Tunes that abc2midi reports
an error in are counted apart. Chord symbols are not played, chords are not strummed, and R: is taken out (abc2midi
swings hornpipes). Where a tune differs, it is tried again with the start of every repeat written out: abc2midi goes back
to the end of the repeat before, the standard (ABC 2.1, 4.8) to the latest double bar line if that comes later.
"""

import argparse
import io
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mido
import zstandard

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.unfold import performed_notes

# (onset in 1/480 quarters, MIDI key number), in order
Notes = list[tuple[int, int]]

DIRECTIVES = "X:1\n%%MIDI chordattack 0\n%%MIDI gchordoff\n"
TIME_LIMIT = 10
TICKS = 480
# abc2midi begins every note a tick late, and rounds tuplets its own way.
SNAP = 4
UNSTARTED = "repeat without a start: abc2midi passes over the latest double bar line (ABC 2.1, 4.8)"
# What was found in tunes that differ for another reason.
REASONS = {
    "music21-airdsairs-5943c8c368": "ending 2 closes with ':|': abc2midi plays the section a third time",
    "music21-ryansmammoth-aa52e32126": "'|3egf' for '|(3egf' starts no ending 3 for us, as no ending 1 came before it",
}
_QUOTED_OR_BAR = re.compile(r'"[^"]*"|\[[A-Za-z]:[^\]]*\]|(:*\[?\|[|\]]*:*|::+)(?=(\s*\[?\d)?)')


def find_abc2midi() -> Path | None:
    """The abc2midi binary inside the installed symusic package, None where there is none."""
    spec = find_spec("symusic")
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "bin").glob("abc2midi*"))
    return found[0] if found else None


def their_notes(binary: Path, abc: str) -> tuple[Notes, list[str]]:
    """What abc2midi plays, and the errors that it reports."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "tune.abc"), Path(folder, "tune.mid")
        source.write_text(DIRECTIVES + re.sub(r"^[XR]:.*\n", "", abc, flags=re.MULTILINE), encoding="utf-8")
        command = [str(binary), str(source), "1", "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT)
        errors = [line for line in done.stdout.splitlines() if line.startswith("Error")]
        content = target.read_bytes() if target.exists() else b""
    notes: Notes = []
    for track in mido.MidiFile(file=io.BytesIO(content)).tracks if content else ():
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                notes.append((round(now / SNAP) * SNAP, message.note))
    return sorted(notes), errors


def our_notes(abc: str) -> Notes:
    """What we play."""
    notes = performed_notes(read_abc(abc))
    return sorted((round(note.onset * TICKS / SNAP) * SNAP, note.pitch) for note in notes)


def with_starts(abc: str) -> str:
    """The tune with "|:" written where the standard begins a repeat that has an end only."""
    header = re.match(r"(?:.*\n)*?K:.*\n", abc)
    point = header.end() if header else 0
    starts: list[int] = []
    opened = in_ending = False
    for bar in _QUOTED_OR_BAR.finditer(abc, point):
        line = bar[1]
        if line is None:
            continue
        if line.startswith(":"):
            if not opened and not in_ending:
                starts.append(point)
            point, in_ending = bar.end(), bool(bar[2])
        elif not opened and re.search(r"\|\||\]|\[", line):
            point, in_ending = bar.end(), False
        opened = line.endswith(":") or (opened and not line.startswith(":"))
    for start in reversed(starts):
        abc = f"{abc[:start]} |: {abc[start:]}"
    return abc


def compare(binary: Path, tunes: Iterator[dict[str, str]]) -> dict[str, object]:
    """Shares of tunes with the same pitches, and with the same onsets too; the tunes that differ."""
    refused: list[dict[str, object]] = []
    differing: list[dict[str, object]] = []
    read = same_pitches = same_onsets = same_started = 0
    for tune in tunes:
        ours = our_notes(tune["abc"])
        theirs, errors = their_notes(binary, tune["abc"])
        started = pitches(ours) == pitches(theirs) or pitches(ours) == pitches(
            their_notes(binary, with_starts(tune["abc"]))[0]
        )
        found = {"id": tune["id"], "our_notes": len(ours), "their_notes": len(theirs), "same_pitches": False}
        found["same_pitches"] = pitches(ours) == pitches(theirs)
        if errors:
            refused.append({**found, "same_with_starts": started, "errors": errors[:3]})
            continue
        read += 1
        same_pitches += bool(found["same_pitches"])
        same_onsets += ours == theirs
        same_started += started
        if ours != theirs:
            reason = REASONS.get(tune["id"], UNSTARTED if started and not found["same_pitches"] else "not known")
            differing.append({**found, "same_with_starts": started, "reason": reason})
    return {
        "tunes": read + len(refused),
        "read_without_error": read,
        "same_pitches": round(same_pitches / max(1, read), 4),
        "same_pitches_and_onsets": round(same_onsets / max(1, read), 4),
        "same_pitches_with_starts": round(same_started / max(1, read), 4),
        "same_pitches_despite_errors": sum(bool(tune["same_pitches"]) for tune in refused),
        "differing": differing,
        "with_errors": refused,
    }


def pitches(notes: Notes) -> list[int]:
    """The key numbers alone."""
    return [pitch for _onset, pitch in notes]


def read_tunes(path: Path, limit: int | None) -> Iterator[dict[str, str]]:
    """The tunes of a file of JSON lines."""
    content = path.read_bytes()
    if path.suffix == ".zst":
        content = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    for line in content.decode("utf-8").splitlines()[:limit]:
        yield json.loads(line)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare our reading of ABC with abc2midi's.")
    parser.add_argument("tunes", type=Path, help="JSON lines with id and abc, plain or .zst")
    parser.add_argument("--limit", type=int, help="only the first N tunes")
    args = parser.parse_args()
    binary = find_abc2midi()
    if binary is None:
        parser.error("there is no abc2midi here; pip install symusic carries one")
    print(json.dumps(compare(binary, read_tunes(args.tunes, args.limit)), indent=1))


if __name__ == "__main__":
    main()
