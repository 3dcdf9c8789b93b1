"""An excerpt is a document like any other: what held before it stands in its header, and its notes say what they must."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_training.excerpts import beginnings, excerpt, header_length, is_note

TOKENIZER = NoteTokenizer()
HEADER = "<bos> <grid> kind:piano meter:4/4 key:C tempo:120 part:0 program:0 part:1 program:5"


def ids(text: str) -> np.ndarray:
    return TOKENIZER.from_text(text)


def last_bar(music: str) -> str:
    """The excerpt from the last bar of a piece with the header above."""
    document = ids(f"{HEADER} {music} <eos>")
    return TOKENIZER.text(excerpt(document, int(beginnings(document)[-1]), len(document)))


def test_the_header_says_what_holds_at_the_first_bar():
    music = "bar meter:3/4 key:D time:0 tempo:96 part:0 program:9 pitch:60 length:4 bar time:5 pitch:62 length:4"
    expected = HEADER.replace("4/4", "3/4").replace("key:C", "key:D").replace("tempo:120", "tempo:96")
    expected = expected.replace("part:0 program:0", "part:0 program:9")
    assert last_bar(music) == f"{expected} bar time:5 part:0 pitch:62 length:4 <eos>"


def test_what_changes_at_the_first_bar_goes_into_the_header():
    music = "bar time:0 part:1 pitch:60 length:4 bar meter:3/4 key:D time:0 tempo:96 pitch:62 length:4"
    expected = HEADER.replace("4/4", "3/4").replace("key:C", "key:D").replace("tempo:120", "tempo:96")
    assert last_bar(music) == f"{expected} bar time:0 part:1 pitch:62 length:4 <eos>"


def test_a_tempo_without_notes_leaves_no_time_behind():
    music = "bar time:0 part:1 pitch:60 length:4 bar time:0 tempo:96 time:7 pitch:62 length:4"
    assert last_bar(music) == f"{HEADER.replace('tempo:120', 'tempo:96')} bar time:7 part:1 pitch:62 length:4 <eos>"


def test_the_first_note_of_a_part_says_its_velocity_unless_it_is_the_unsaid_one():
    loud = "bar time:0 part:0 velocity:12 pitch:60 length:4 part:1 pitch:62 length:4"
    music = f"{loud} bar time:0 pitch:63 length:4 time:9 part:0 pitch:64 length:4 pitch:66 length:4"
    told = "bar time:0 part:1 pitch:63 length:4 time:9 part:0 velocity:12 pitch:64 length:4 pitch:66 length:4"
    assert last_bar(music) == f"{HEADER} {told} <eos>"
    music = f"{loud} bar time:9 part:0 velocity:8 pitch:64 length:4"
    assert last_bar(music) == f"{HEADER} bar time:9 part:0 pitch:64 length:4 <eos>"


def test_the_beginning_is_cut_and_otherwise_as_it_is():
    document = ids(f"{HEADER} bar time:0 part:1 pitch:60 length:4 <eos>")
    assert header_length(document) == 10
    for begin in (0, 10):
        assert np.array_equal(excerpt(document, begin, 13), document[:13])


def test_music_without_bars_may_begin_where_time_passes():
    document = ids(
        "<bos> <perf> kind:piano part:0 program:0 part:0 pitch:60 length:4 time:191 time:9 pitch:61 length:4"
    )
    (begin,) = beginnings(document)
    expected = "<bos> <perf> kind:piano part:0 program:0 time:191 time:9 part:0 pitch:61 length:4"
    assert TOKENIZER.text(excerpt(document, int(begin), len(document))) == expected


def test_drums_and_pitches_are_notes():
    assert is_note(ids("bar part:0 drum:36 pitch:60 length:4")).tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("number", range(24))
def test_every_excerpt_is_what_its_music_is_encoded_as(pieces, number):
    document = TOKENIZER.encode(pieces[number], NoteOptions(clock="grid"))
    kind = TOKENIZER.text(document[2:3]).removeprefix("kind:")
    places = beginnings(document)
    assert len(places) >= 3
    for begin in places:
        cut = excerpt(document, int(begin), len(document))
        again = TOKENIZER.encode(TOKENIZER.decode(cut), NoteOptions(clock="grid", kind=kind, silent=True))
        assert np.array_equal(cut, again)
        assert is_note(cut).sum() == is_note(document[begin:]).sum()
