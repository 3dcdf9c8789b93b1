"""What is played, as it is written: on a grid nothing changes, and free playing is written near to it and says so."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers import layers
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.bars import check_bars
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.score import Meter, Score, Tempo
from rwkv_music_tokenizers.score_of_performance import score_of_performance
from rwkv_music_tokenizers.spelling import estimate_key, key_of, spelled, spellings
from rwkv_music_tokenizers.unfold import performed_notes

TICKS = 480
Note = tuple[int, int, int]


def played(*parts: list[Note], meter: tuple[int, int] = (4, 4), key: tuple[int, int] | None = (0, 0)) -> Performance:
    """Notes as (start, end, pitch) in ticks of a 480th quarter, each list a track."""
    tracks = tuple(Track(rows(sorted((on, off, pitch, 64) for on, off, pitch in part), 4)) for part in parts)
    keys = rows([(0, *key)] if key else [], 3)
    return Performance(tracks, TICKS, meters=rows([(0, *meter)], 3), keys=keys)


def melody(*notes: tuple[str, int], start: int = 0) -> list[Note]:
    """(pitches as "60 64" or "" for a rest, ticks) one after the other."""
    found: list[Note] = []
    for pitches, length in notes:
        found += [(start, start + length, int(pitch)) for pitch in pitches.split()]
        start += length
    return found


def music(piece: Performance, grid: str = "") -> str:
    """The ABC of the notation below its K: field."""
    body = write_abc(score_of_performance(piece, grid).score).partition("\nK:")[2].splitlines()[1:]
    return "\n".join(line for line in body if not line.startswith("%%"))


def heard(score: Score) -> Counter[tuple[Fraction, Fraction, int]]:
    return Counter((note.onset, note.length, note.pitch) for note in performed_notes(score))


PIECES = {
    "a scale": (melody(*[(str(pitch), 240) for pitch in (60, 62, 64, 65, 67, 69, 71, 72)]), "CD EF GA Bc|]"),
    "a tie over the bar line": (melody(("60", 1440), ("62", 960), ("64", 1440)), "C6 D2-|D2 E6|]"),
    "a triplet": (melody(("60", 160), ("62", 160), ("64", 160), ("65", 1440)), "(3CDE F6|]"),
    "a triplet of quarters": (melody(("60", 320), ("62", 320), ("64", 320), ("65", 960)), "(3C2D2E2 F4|]"),
    "a triplet with a long note": (melody(("60", 320), ("62", 160), ("65", 1440)), "(3:2:2C2D F6|]"),
    "a quintuplet": (melody(*[(str(60 + step), 96) for step in (0, 2, 4, 5, 7)], ("69", 1440)), "(5:4CDEFG A12|]"),
    "chords": (melody(("60 64 67", 960), ("59 62 67", 960)), "[CEG]4 [B,DG]4|]"),
    "a rest": (melody(("60", 480), ("", 960), ("62", 480)), "C2 z4 D2|]"),
    "two voices": ([*melody(("72", 480), ("74", 480), ("76", 960)), (0, 1920, 60)], "c2 d2 e4 & C8|]"),
    "a voice of its own for a while": ([*melody(("72", 960), ("74", 960)), (480, 1440, 60)], "c4 d4 & x2 C4 x2|]"),
    "an upbeat": (melody(("67", 480), ("60", 1920), start=1440), "G2|C8|]"),
    "an upbeat and its complement": (melody(("67", 480), ("60", 1920), ("62", 1440), start=1440), "G2|C8|D6|]"),
    "dotted rhythm": (melody(("60", 720), ("62", 240), ("64", 900), ("65", 60)), "C3D E15/4F/4|]"),
}


@pytest.mark.parametrize("name", PIECES)
def test_what_is_on_a_grid_is_written_as_it_is(name: str):
    notes, expected = PIECES[name]
    found = score_of_performance(played(notes))
    assert music(played(notes)) == expected
    assert found.approximate == ""
    begin = min(start for start, _, _ in notes) if "upbeat" in name else 0
    assert heard(found.score) == Counter(
        (Fraction(start - begin, TICKS), Fraction(end - start, TICKS), pitch) for start, end, pitch in notes
    )
    assert not check_bars(found.score)


# In ticks: binary lengths and triplets. All that they add up to is written in 64th triplets or more simply.
LENGTHS = st.sampled_from([60, 120, 240, 360, 480, 720, 960, 1920, 160, 320, 80])


@st.composite
def pieces(draw: st.DrawFn) -> Performance:
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        notes: set[Note] = set()
        for _ in range(draw(st.integers(1, 2))):
            now = 0
            for length, gap, pitches in draw(
                st.lists(
                    st.tuples(
                        LENGTHS, st.sampled_from([0, 0, 240, 160, 480]), st.sets(st.integers(40, 80), max_size=3)
                    ),
                    max_size=12,
                )
            ):
                notes |= {(now, now + length, pitch) for pitch in pitches}
                now += length + gap
        longest = {(pitch, start): end for start, end, pitch in sorted(notes)}
        # No key is struck while it is held.
        following = {one: other[1] for one, other in pairwise(sorted(longest)) if one[0] == other[0]}
        parts.append(
            [(start, min(end, following.get((pitch, start), end)), pitch) for (pitch, start), end in longest.items()]
        )
    parts[0].append((0, 480, 90))
    return played(*parts, meter=draw(st.sampled_from([(4, 4), (3, 4), (6, 8), (5, 8), (2, 2)])))


@settings(max_examples=60, deadline=None)
@given(pieces())
def test_nothing_on_a_grid_is_lost_in_notes_in_abc_or_in_midi(piece: Performance):
    found = score_of_performance(piece)
    assert found.approximate == ""
    score = found.score
    expected = Counter(
        (Fraction(start, TICKS), Fraction(end - start, TICKS), pitch)
        for track in piece.tracks
        for start, end, pitch, _ in track.notes.tolist()
    )
    assert heard(score) == expected
    assert not check_bars(score)
    text = write_abc(score)
    again = read_abc(text)
    assert not again.warnings
    assert heard(again) == expected
    struck = Counter(
        (start, pitch) for track in read_midi(write_midi(again)).tracks for start, _, pitch, _ in track.notes.tolist()
    )
    assert set(struck) == {(int(onset * TICKS), pitch) for onset, _, pitch in expected}


def test_a_key_struck_again_is_released_before():
    piece = played([(700, 2620, 60), (960, 2880, 60)])
    assert heard(score_of_performance(piece).score) == Counter(
        {(Fraction(35, 24), Fraction(13, 24), 60): 1, (Fraction(2), Fraction(4), 60): 1}
    )


def test_notes_a_tick_late_or_rounded_are_where_they_are_meant():
    late = [(start + 1, end, pitch) for start, end, pitch in PIECES["a scale"][0]]
    assert music(played(late)) == "CD EF GA Bc|]"
    assert score_of_performance(played(late)).approximate == ""
    # A third of 1024 ticks is none.
    piece = Performance((Track(rows([(0, 341, 60, 64), (341, 683, 62, 64), (683, 1024, 64, 64)], 4)),), 1024)
    assert music(piece).startswith("(3CDE")


def test_notes_let_go_early_are_as_long_as_their_values_and_it_is_told():
    short = [(start, end - 23, pitch) for start, end, pitch in PIECES["a scale"][0]]
    found = score_of_performance(played(short))
    assert music(played(short)) == "CD EF GA Bc|]"
    assert found.approximate == "approximate notation: lengths of 8 of 8 notes rounded"


def test_free_playing_is_moved_to_a_grid_and_says_so():
    rng = np.random.default_rng(1)
    loose = [
        (start + int(rng.integers(10, 40)), end + int(rng.integers(-40, 40)), pitch)
        for start, end, pitch in PIECES["a scale"][0]
    ]
    found = score_of_performance(played(loose))
    assert music(played(loose)) == "CD EF GA Bc|]"
    assert found.approximate.startswith("approximate notation: played freely, written in 1/8")
    assert found.score.header("N") == found.approximate
    with pytest.raises(NotationError, match="there is no grid '1/7'"):
        score_of_performance(played(loose), "1/7")


def test_free_triplets_are_written_as_triplets():
    loose = [
        (max(0, start + (-1) ** number * 25), end + 13, 60 + number)
        for number, (start, end, _) in enumerate(melody(*[("60", 160)] * 12))
    ]
    assert music(played(loose)).count("(3") == 4


def test_every_track_is_a_part_with_its_name_its_instrument_and_its_clef():
    high, low, beat = ([(0, 1920, pitch)] for pitch in (72, 40, 38))
    tracks = (
        Track(rows([(*high[0], 64)], 4), 40, name="Geige"),
        Track(rows([(*low[0], 64)], 4), 43),
        Track(rows([(*beat[0], 64)], 4), 0, drums=True),
        Track(rows([], 4), 5, name="silent"),
    )
    parts = score_of_performance(Performance(tracks, TICKS)).score.parts
    assert [(part.name, part.program, part.properties) for part in parts] == [
        ("1", 40, 'name="Geige"'),
        ("2", 43, "clef=bass"),
        ("3", 0, "clef=perc"),
    ]


def test_two_hands_are_written_on_two_staffs_that_a_brace_joins():
    hands = [*melody(("72", 960), ("60 76", 960)), *melody(("43", 960), ("48 59", 960))]
    song = melody(("67", 1920))
    for program, joined in ((0, "score 1 {2 3}"), (46, "score 1 {2 3}"), (40, "")):
        tracks = (
            Track(rows([(*note, 64) for note in song], 4), 52),
            Track(rows(sorted((*note, 64) for note in hands), 4), program, name="Both"),
        )
        piece = Performance(tracks, TICKS)
        score = score_of_performance(piece).score
        assert score.header("%%") == joined
        assert sum(heard(score).values()) == piece.count
        if joined:
            _, right, left = score.parts
            assert (right.properties, left.properties) == ('name="Both"', "clef=bass")
            pitches = [
                [tone.pitch.midi for bar in part.bars for event in bar.events for tone in event.tones]
                for part in (right, left)
            ]
            assert pitches == [[72, 60, 76], [43, 48, 59]]


@pytest.mark.parametrize("pitches", [("72 76", "64 55"), ("43", "48"), ("60", "62")])
def test_a_hand_alone_stays_on_one_staff(pitches):
    notes = melody(*((pitch, 960) for pitch in pitches))
    assert len(score_of_performance(played(notes)).score.parts) == 1


def test_changes_of_meter_key_and_tempo_stand_where_they_happen():
    notes = melody(*[("60", 480)] * 11)
    piece = Performance(
        (Track(rows([(*note, 64) for note in notes], 4)),),
        TICKS,
        rows([(0, 500_000), (2400, 600_000)], 2),
        rows([(0, 4, 4), (1920, 3, 4)], 3),
        rows([(0, 0, 0), (3360, 2, 1)], 3),
        "Air",
    )
    score = score_of_performance(piece).score
    assert (score.title, score.meter.text, score.key, score.tempo) == ("Air", "4/4", Key("C"), Tempo(Fraction(120)))
    first, second, third, last = score.parts[0].bars
    assert not any(isinstance(item, Meter | Key | Tempo) for item in first.items)
    assert [item for item in second.items if isinstance(item, Meter)] == [Meter("3/4", Fraction(3))]
    assert second.items[2] == Tempo(Fraction(100))
    assert third.items[0] == Key("B", "minor")
    assert [bar.length for bar in (first, second, third, last)] == [4, 3, 3, 3]


def test_a_first_change_of_meter_off_the_bar_lines_makes_an_upbeat():
    notes = melody(*[("60", 480)] * 8)
    piece = Performance(
        (Track(rows([(*note, 64) for note in notes], 4)),), TICKS, meters=rows([(0, 4, 4), (2400, 3, 4)], 3)
    )
    assert [bar.length for bar in score_of_performance(piece).score.parts[0].bars] == [1, 4, 3]


def test_a_rubato_becomes_a_few_marks_of_tempo():
    notes = melody(*[("60", 480)] * 64)
    tempos = [
        (number * 120, 500_000 + (number % 7) * 10_000 + (300_000 if number >= 128 else 0)) for number in range(256)
    ]
    piece = Performance((Track(rows([(*note, 64) for note in notes], 4)),), TICKS, rows(tempos, 2))
    marks = [item for bar in score_of_performance(piece).score.bars() for item in bar.items if isinstance(item, Tempo)]
    assert marks == [Tempo(Fraction(72))]


@pytest.mark.parametrize(
    ("scale", "key"),
    [
        ("60 60 62 64 65 67 67 69 71 72", Key("C")),
        ("62 62 64 66 67 69 69 71 73 74", Key("D")),
        ("57 57 59 60 62 64 64 65 68 69", Key("A", "minor")),
        ("63 63 65 67 68 70 70 72 74 75", Key("Eb")),
    ],
)
def test_the_key_of_a_scale_is_found(scale: str, key: Key):
    notes = melody(*[(pitch, 480) for pitch in scale.split()])
    assert score_of_performance(played(notes, key=None)).score.key == key


def test_silence_is_in_c():
    assert estimate_key(np.zeros(12)) == Key("C")


@pytest.mark.parametrize("fifths", range(-7, 8))
@pytest.mark.parametrize("minor", [False, True])
def test_every_pitch_is_written_as_it_sounds_and_a_scale_without_accidentals(fifths: int, minor: bool):
    key = key_of(fifths, minor)
    assert key.fifths == fifths
    names = spellings(key)
    for pitch in range(128):
        assert spelled(pitch, names).midi == pitch
    assert {(step, key.alter(step)) for step in "CDEFGAB"} <= set(names)


def test_a_leading_note_is_raised_in_minor_and_a_seventh_lowered_in_major():
    assert spellings(key_of(-3, True))[11] == ("B", 0)
    assert spellings(key_of(0, True))[8] == ("G", 1)
    assert spellings(key_of(0, False))[10] == ("B", -1)
    assert spellings(key_of(4, False))[0] == ("B", 1)


def test_what_is_too_long_is_refused_in_a_line(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NotationError, match="there are no notes to write"):
        score_of_performance(Performance((Track(rows([], 4)),), TICKS))
    far = [(0, 480, 60), (100_000_000, 100_000_480, 60)]
    with pytest.raises(NotationError, match="bars; only shorter pieces"):
        score_of_performance(played(far, meter=(1, 4)))
    # A cluster let go note by note.
    monkeypatch.setattr(layers, "MOST_ITEMS", 1000)
    with pytest.raises(NotationError, match="1,000 notes and rests; only shorter pieces"):
        score_of_performance(played([(0, 1920 * (130 - pitch), pitch) for pitch in range(128)]))
    monkeypatch.setattr("rwkv_music_tokenizers.score_of_performance.MOST_NOTES", 5)
    with pytest.raises(NotationError, match="8 notes; at most 5 can be written"):
        score_of_performance(played(PIECES["a scale"][0]))
