"""The formats that need no heavy library: ABC, MIDI and JSON."""

import re

from rwkv_music.render.options import RenderOptions
from rwkv_music.render.plain import write_json
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.score import Score

_KEY_LINE = re.compile(r"^K:.*$", re.MULTILINE)


def abc_file(score: Score, options: RenderOptions) -> bytes:
    """The ABC text, with the remarks as comment lines at the end of the header."""
    text = write_abc(score) if options.abc_text is None else options.abc_text
    if not re.search(r"^X:", text, re.MULTILINE):
        text = "X:1\n" + text
    if not text.endswith("\n"):
        text += "\n"
    notes = "".join(f"% {line}\n" for remark in options.remarks for line in remark.splitlines())
    key = _KEY_LINE.search(text)
    place = key.end() + 1 if key else len(text)
    return (text[:place] + notes + text[place:]).encode("utf-8", "replace")


def midi_file(score: Score, options: RenderOptions) -> bytes:
    """The score as it is played."""
    return write_midi(score, accompaniment=options.accompaniment, options=options.midi, remarks=options.remarks)


def json_file(score: Score, options: RenderOptions) -> bytes:
    """The score as plain data."""
    return write_json(score, options.remarks).encode("utf-8", "replace")
