"""Performances as MIDI files: what is written is read back, note by note."""

import io
from collections import defaultdict

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_events, read_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_writer import write_performance


def same(one: Performance, other: Performance) -> None:
    """Both are played alike, track by track; tracks without notes do not count."""
    first, second = ([track for track in piece.tracks if len(track.notes)] for piece in (one, other))
    assert [(track.program, track.drums, track.name) for track in first] == [
        (track.program, track.drums, track.name) for track in second
    ]
    for mine, theirs in zip(first, second, strict=True):
        assert mine.notes.tolist() == theirs.notes.tolist()
        assert mine.pedals.tolist() == theirs.pedals.tolist()
    assert (one.ticks, one.title) == (other.ticks, other.title)
    for name in ("tempos", "meters", "keys"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    """Keys are struck one after the other, each pitch again only after its release."""
    notes = []
    for pitch in draw(st.lists(st.integers(0, 127), unique=True, max_size=6)):
        now = 0
        for gap, length in draw(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), max_size=4)):
            notes.append((now + gap, now + gap + length, pitch, draw(st.integers(1, 127))))
            now += gap + length
    notes.sort(key=lambda note: (note[0], note[2], note[1]))
    turns = np.cumsum(draw(st.lists(st.integers(1, 300), max_size=6))).tolist()
    drums = draw(st.booleans())
    name = draw(st.sampled_from(["", "Geige", "Ñandú 鼓"]))
    pedals = rows(list(zip(turns[::2], turns[1::2], strict=False)), 2)
    return Track(rows(notes, 4), draw(st.integers(0, 127)), drums, name, pedals)


def changes(values: st.SearchStrategy[tuple[int, ...]]) -> st.SearchStrategy[list[tuple[int, ...]]]:
    """Values at rising ticks, each unlike the one before."""
    steps = st.lists(st.tuples(st.integers(1, 2000), values), max_size=4)
    return steps.map(
        lambda found: [
            (int(tick), *value)
            for number, (tick, (_, value)) in enumerate(zip(np.cumsum([step for step, _ in found]), found, strict=True))
            if not number or found[number - 1][1] != value
        ]
    )


@st.composite
def performances(draw: st.DrawFn) -> Performance:
    tempos = draw(changes(st.tuples(st.integers(1, 499_999))))
    meters = draw(changes(st.tuples(st.integers(1, 255), st.sampled_from([1, 2, 8, 16, 32, 64]))))
    played = draw(st.lists(tracks(), max_size=15))
    # One drum track: all drums share a channel, so one key could be struck twice.
    drums = [track for track in played if track.drums][:1]
    return Performance(
        tuple(track for track in played if not track.drums or track in drums),
        draw(st.integers(1, 32767)),
        rows([(0, 500_000), *tempos], 2),
        rows([(0, 4, 4), *meters], 3),
        rows(draw(changes(st.tuples(st.integers(-7, 7), st.integers(0, 1)))), 3),
        draw(st.sampled_from(["", "Lied ohne Worte"])),
    )


@settings(max_examples=80, deadline=None)
@given(performances())
def test_what_is_written_is_read_back(piece: Performance):
    found = read_midi(write_performance(piece, ["made by hand"]))
    assert found.repairs == ()
    same(found, piece)


def one_note_tracks(count: int, programs: int) -> Performance:
    """Tracks that play the same key one after the other, over and over."""
    found = [
        Track(
            rows([(10 * (turn * count + n), 10 * (turn * count + n) + 9, 60, 64) for turn in range(2)], 4), n % programs
        )
        for n in range(count)
    ]
    return Performance(tuple(found), 96)


def sounding(content: bytes) -> list[tuple[int, int]]:
    """(tick, program) of every key struck, as a synthesizer hears the channels."""
    programs: dict[int, int] = defaultdict(int)
    heard: list[tuple[int, int]] = []
    now = 0
    for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(content)).tracks):
        now += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on":
            heard.append((now, programs[message.channel]))
    return heard


def test_instruments_that_share_a_channel_may_begin_together():
    strokes = [(0, 9, 60, 64), (20, 29, 60, 64)]
    tracks = [Track(rows([(start, end, number, 64) for start, end, *_ in strokes], 4), number) for number in range(40)]
    piece = Performance(tuple(tracks), 96)
    content = write_performance(piece)
    same(read_midi(content), piece)
    assert sorted(sounding(content)) == [(start, number) for start in (0, 20) for number in range(40)]


@pytest.mark.parametrize(("count", "programs"), [(15, 15), (40, 8), (40, 40)])
def test_however_many_instruments_there_are_each_is_heard_as_itself(count: int, programs: int):
    piece = one_note_tracks(count, programs)
    content = write_performance(piece)
    same(read_midi(content), piece)
    expected = sorted((note[0], track.program) for track in piece.tracks for note in track.notes.tolist())
    assert sounding(content) == expected


def test_a_key_is_released_before_it_is_struck_again():
    piece = Performance((Track(rows([(0, 100, 60, 64), (50, 80, 60, 64)], 4)),), 96)
    events = read_events(write_performance(piece)).tracks[1]
    assert [(event.tick, event.kind) for event in events if event.kind in ("on", "off")] == [
        (0, "on"),
        (50, "off"),
        (50, "on"),
        (80, "off"),
    ]


def test_of_two_strokes_of_one_key_at_once_the_longer_stands():
    piece = Performance((Track(rows([(0, 50, 60, 64), (0, 80, 60, 70)], 4)),), 96)
    assert read_midi(write_performance(piece)).tracks[0].notes.tolist() == [[0, 80, 60, 70]]


def test_how_a_piece_was_made_stays_with_it():
    content = write_performance(Performance((), 96, title="Air"), ["seed 7"])
    texts = [(event.kind, event.text) for event in read_events(content).tracks[0] if event.text]
    assert texts == [("name", "Air"), ("text", "seed 7")]


def test_a_piece_too_long_for_a_file_is_refused():
    with pytest.raises(NotationError, match="shorten the piece"):
        write_performance(Performance((Track(rows([(0, 1 << 28, 60, 64)], 4)),), 96))
