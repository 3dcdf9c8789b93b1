"""Every id of a document has the kind that people would give it."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.remi_vocabulary import WORDS
from rwkv_music_training.judging.kinds import body_start, kinds_of


def named(ids: np.ndarray, language: str, vocabulary: int) -> list[str]:
    kinds = kinds_of(ids, language, vocabulary)
    return [kinds.names[place] for place in kinds.places]


def test_characters_of_a_tune():
    text = 'M:4/4\nK:D\n|:^A,2"D"b/>z [K:G]\n(3abc|1-!p!|]\n'
    ids = np.array([2, *text.encode(), 3])
    expected = {
        "M:4/4\nK:D\n": "header",
        "|:": "bar line",
        "^A,": "pitch",
        "2": "length",
        '"D"': "chord symbol",
        "b": "pitch",
        "/>": "length",
        "z": "rest",
        " ": "line or space",
        "[K:G]": "field",
        "\n": "line or space",
        "(3": "length",
        "abc": "pitch",
        "|1": "bar line",
        "-!p!": "other",
        "|]": "bar line",
    }
    told = [kind for part, kind in expected.items() for _ in part]
    assert named(ids, "abc", 128) == ["end", *told, "line or space", "end"]
    assert kinds_of(ids, "abc", 128).notes.sum() == 5


@pytest.mark.parametrize(
    "text, start",
    [("R:jig\nK:D\nABc|\n", 10), ("K:D\nABc|\n", 4), ("ABc|\n", 0), ("M:6/8\nK:Dmix\n[K:G]ABc\n", 13), ("K:D", 0)],
)
def test_the_body_begins_after_the_first_key(text, start):
    assert body_start(text) == start


def test_words_of_other_codes():
    ids = NoteTokenizer().from_text("<bos> <grid> kind:piano bar time:0 part:0 pitch:60 length:4 drum:36 <eos>")
    assert named(ids, "notes", 896) == [
        *("special", "special", "kind", "bar", "time", "part", "pitch", "length", "drum", "end")
    ]
    assert kinds_of(ids, "notes", 896).notes.sum() == 2
    words = (
        "BOS_None",
        "Bar_None",
        "Position_4",
        "Program_-1",
        "PitchDrum_36",
        "Pitch_60",
        "Duration_1.0.8",
        "EOS_None",
    )
    ids = np.array([WORDS.index(word) for word in words])
    assert named(ids, "remi", 427) == [*("special", "bar", "position", "program", "drum", "pitch", "duration", "end")]
    assert named(np.array([0, 3, 127, 128, 129]), "midi", 20096) == ["end", "wait", "wait", "release", "pitch"]
    assert named(np.array([1, 2]), "else", 5) == ["token", "token"]
