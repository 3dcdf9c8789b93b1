"""The words of MIDI models are played as the published player plays them."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_events import MidiStream
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO
from rwkv_music_tokenizers.words_to_midi import published_events

TOKENS = Path(__file__).parents[1] / "data" / "tokens"
SHARED = Path(__file__).parents[3] / "shared" / "golden" / "tokens"
CASES = json.loads((TOKENS / "midi_decode.json").read_text())
SHARED_CASES = [*(SHARED / "decode").glob("*.json")]
WORDS = {"midi": MIDI, "piano": MIDI_PIANO}


def messages(stream: MidiStream) -> list[list]:
    """Notes and releases as rows: kind, channel, pitch, velocity, ticks since the one before."""
    (track,) = stream.tracks
    played = [event for event in track if event.kind in ("on", "off")]
    ticks = [0, *(event.tick for event in played)]
    return [
        [event.kind, event.channel, event.first, event.second, event.tick - before]
        for event, before in zip(played, ticks, strict=False)
    ]


@pytest.mark.parametrize("case", [case for case in CASES if "error" not in case], ids=lambda case: case["name"])
def test_words_are_played_as_published(case):
    stream = published_events(case["text"], WORDS[case["vocab"]])
    assert messages(stream) == case["messages"]
    assert max((event.tick for event in stream.tracks[0]), default=0) == case["total_ticks"]


@pytest.mark.skipif(not SHARED_CASES, reason="needs the shared golden vectors")
def test_a_piece_of_another_program_is_played_as_published():
    case = json.loads((SHARED / "decode" / "runner_sample.json").read_text())
    assert messages(published_events(case["text"], MIDI)) == case["messages"]


@pytest.mark.skipif(not SHARED_CASES, reason="needs the shared golden vectors")
@pytest.mark.parametrize("path", sorted((SHARED / "encode").glob("*.json")), ids=lambda path: path.stem)
def test_every_encoded_file_is_played_as_published(path):
    case = json.loads(path.read_text())
    runner = case["profiles"]["runner"]
    runner = case["profiles"][runner["same_as"]] if "same_as" in runner else runner
    if not runner["pieces"]:
        pytest.skip("nothing to play")
    expected = case["decode_runner_piece0"]
    stream = published_events(runner["pieces"][0]["text"], MIDI)
    assert stream.tracks[0][-1].tick == expected["total_ticks"]
    assert notes(stream) == [note[:4] + note[6:] for note in expected["notes"]]


def notes(stream: MidiStream) -> list[list]:
    """Rows: start and end in seconds (None: never), pitch, velocity, channel; in the order of the starts."""
    rows, down = [], {}
    for event in stream.tracks[0]:
        key = event.channel, event.first
        if event.kind == "on":
            down[key] = [round(event.tick / 960, 6), None, event.first, event.second, event.channel]
            rows.append(down[key])
        elif event.kind == "off" and key in down:
            down.pop(key)[1] = round(event.tick / 960, 6)
    return sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize("case", [case for case in CASES if "error" in case], ids=lambda case: case["name"])
def test_what_cannot_be_played_is_named_with_its_place(case):
    with pytest.raises(NotationError, match=r"^line 1, column 9: '.*' cannot be played: words are t1 to t125"):
        published_events(case["text"], WORDS[case["vocab"]])


def test_instruments_are_chosen_before_the_first_note():
    stream = published_events("pi:3c:7", MIDI)
    chosen = [(event.channel, event.first) for event in stream.tracks[0] if event.kind == "program"]
    assert chosen == [
        *[
            (0, 118),
            (1, 58),
            (2, 12),
            (3, 32),
            (4, 25),
            (5, 40),
            (6, 56),
            (7, 0),
            (8, 66),
            (10, 73),
            (11, 80),
            (12, 88),
        ],
        (9, 0),
    ]


@settings(deadline=None)
@given(st.lists(st.sampled_from(["t1", "t999999", "<end>", "<x", "pi:3c:7", "pi:3c:0", "p:7f:b", "\n"]) | st.text()))
def test_any_text_is_played_or_refused(parts):
    try:
        published_events(" ".join(parts), MIDI)
    except NotationError as error:
        assert error.place
