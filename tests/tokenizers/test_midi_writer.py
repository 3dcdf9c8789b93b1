"""MIDI files: what is in them, and that any player can play them."""

import io
from collections import defaultdict
from fractions import Fraction
from typing import Any

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.accompaniment import pattern
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.midi_writer import TICKS, MidiOptions, write_midi
from rwkv_music_tokenizers.score import Bar, Event, Meter, Part, Score
from rwkv_music_tokenizers.unfold import performed_notes

HEADER = "X:1\nT:Tüne\nM:4/4\nL:1/4\nK:C\n"


def read(midi: bytes) -> list[list[dict[str, Any]]]:
    """The tracks' messages as dictionaries, `time` counted in ticks from the beginning."""
    tracks: list[list[dict[str, Any]]] = []
    for track in mido.MidiFile(file=io.BytesIO(midi), charset="utf-8").tracks:
        now = 0
        messages: list[dict[str, Any]] = []
        for message in track:
            now += message.time
            messages.append({**message.dict(), "time": now})
        tracks.append(messages)
    return tracks


def notes(midi: bytes, track: int = 1) -> list[tuple[int, int, int, int]]:
    """(on, off, pitch, velocity) of a track, in order."""
    held: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int, int, int]] = []
    for message in read(midi)[track]:
        if message["type"] == "note_on":
            assert message["note"] not in held, "pressed twice"
            assert message["velocity"] > 0
            held[message["note"]] = (message["time"], message["velocity"])
        elif message["type"] == "note_off":
            on, velocity = held.pop(message["note"])
            found.append((on, message["time"], message["note"], velocity))
    assert not held, "a note hangs"
    return sorted(found)


def tune(music: str, header: str = HEADER, **options: Any) -> bytes:
    return write_midi(read_abc(header + music + "\n"), **options)


def metas(midi: bytes, kind: str) -> list[dict[str, Any]]:
    return [message for message in read(midi)[0] if message["type"] == kind]


def test_a_file_has_format_1_and_480_ticks_a_quarter():
    file = mido.MidiFile(file=io.BytesIO(tune("CDEF|]")))
    assert (file.type, file.ticks_per_beat) == (1, 480)


def test_the_same_score_gives_the_same_bytes():
    assert tune('"C"CDEF|]') == tune('"C"CDEF|]')


def test_notes_stand_where_they_are_performed():
    midi = tune("|:CD (3EFG|1c4:|2 z4|]")
    performed = performed_notes(read_abc(HEADER + "|:CD (3EFG|1c4:|2 z4|]\n"))
    assert [(on, pitch) for on, _off, pitch, _velocity in notes(midi)] == [
        (round(note.onset * TICKS), note.pitch) for note in performed
    ]


def test_a_release_comes_before_the_next_press_at_the_same_tick():
    types = [message["type"] for message in read(tune("CCCC|]"))[1] if message["type"].startswith("note")]
    assert types == ["note_on", "note_off"] * 4


def test_the_same_pitch_in_two_layers_never_overlaps():
    assert notes(tune("C4 & CCC2|]")) == [(0, 480, 60, 92), (480, 960, 60, 85), (960, 1920, 60, 85)]


def test_the_file_lasts_as_long_as_the_rests_at_its_end():
    assert {track[-1]["time"] for track in read(tune('"C"C2z2|z4|]'))} == {3840}


def test_remarks_and_title_are_kept_as_text():
    midi = tune("C4|]", remarks=["seed 7", "model ünique"])
    assert [message["text"] for message in metas(midi, "text")] == ["seed 7", "model ünique"]
    assert metas(midi, "track_name")[0]["name"] == "Tüne"


@pytest.mark.parametrize(
    ("header", "quarters"),
    [
        ("Q:1/4=100\n", 100),
        ("Q:3/8=80\n", 120),
        ("", 120),
        ("R:jig\n", 174),
        ("R:Reels\n", 208),
        ("R:waltz\nQ:1/4=90\n", 90),
        ('Q:"Presto"\n', 176),
        ("R:something else\n", 120),
    ],
)
def test_the_tempo_is_the_pieces_own_or_its_rhythms_custom(header: str, quarters: int):
    [message] = metas(tune("C4|]", f"X:1\n{header}L:1/4\nK:C\n"), "set_tempo")
    assert message["tempo"] == pytest.approx(60_000_000 / quarters, abs=1)


def test_tempo_meter_and_key_changes_stand_where_they_happen():
    midi = tune("C4|[M:3/4][K:Em][Q:1/4=60]C3|]")
    assert [(m["time"], m["numerator"], m["denominator"]) for m in metas(midi, "time_signature")] == [
        (0, 4, 4),
        (1920, 3, 4),
    ]
    assert [(m["time"], m["key"]) for m in metas(midi, "key_signature")] == [(0, "C"), (1920, "Em")]
    assert [(m["time"], m["tempo"]) for m in metas(midi, "set_tempo")] == [(0, 500_000), (1920, 1_000_000)]


@pytest.mark.parametrize(
    ("key", "name"),
    [("G", "G"), ("Am", "Am"), ("Ddor", "Am"), ("Amix", "D"), ("HP", "D"), ("none", "C"), ("C#", "C#"), ("Abm", "Abm")],
)
def test_modes_are_told_by_their_signature(key: str, name: str):
    assert [m["key"] for m in metas(tune("C4|]", f"X:1\nL:1/4\nM:4/4\nK:{key}\n"), "key_signature")] == [name]


def test_free_meter_has_no_time_signature():
    assert metas(tune("CDEFG|]", "X:1\nL:1/4\nM:none\nK:C\n"), "time_signature") == []


def test_the_first_beat_is_louder_than_the_others_and_those_than_what_lies_between():
    velocities = [velocity for *_, velocity in notes(tune("C/C/C/C/C2|]"))]
    assert velocities == [92, 80, 85, 80, 85]
    assert {velocity for *_, velocity in notes(tune("CDEF|]", options=MidiOptions(accents=False)))} == {80}


def test_a_pickup_is_not_the_first_beat():
    assert [velocity for *_, velocity in notes(tune("C|DEFG|]"))][:2] == [85, 92]


def test_dynamics_and_accents_are_heard():
    assert [velocity for *_, velocity in notes(tune("!p!CD!f!LEF|]", options=MidiOptions(accents=False)))] == [
        56,
        56,
        106,
        92,
    ]


def test_staccato_halves_a_note():
    assert notes(tune(".CD2z|]"))[0][:2] == (0, 240)


def test_grace_notes_are_taken_from_the_main_note():
    assert [note[:3] for note in notes(tune("{EF}C2D2|]"))] == [
        (0, 60, 64),
        (60, 120, 65),
        (120, 960, 60),
        (960, 1920, 62),
    ]


def test_many_grace_notes_take_half_the_note_at_most():
    assert [note[0] for note in notes(tune("{ABcdefgab}C/ z3|]"))][-1] == 120


def test_each_voice_has_a_track_with_its_name_and_program():
    tracks = read(tune('V:1 name="Fiddle"\n%%MIDI program 40\nC4|\nV:2\nE,4|'))
    assert [track[0]["name"] for track in tracks[1:]] == ["Fiddle", "2"]
    programs = [message["program"] for track in tracks[1:] for message in track if message["type"] == "program_change"]
    channels = {message["channel"] for track in tracks[1:] for message in track if "channel" in message}
    assert programs[1] == 0
    assert channels == {0, 1}


def test_lyrics_go_along_with_their_notes():
    track = read(tune("CDEF|]\nw:one two-three four"))[1]
    assert [(m["time"], m["text"]) for m in track if m["type"] == "lyrics"] == [
        (0, "one "),
        (480, "two"),
        (960, "three "),
        (1440, "four "),
    ]


def test_chord_symbols_are_played_as_bass_and_chords():
    midi = tune('"C"CDEF|"G7"G4|]')
    assert [(on, pitch) for on, _off, pitch, _v in notes(midi, 2)] == [(0, 36), (960, 43), (1920, 43), (2880, 38)]
    assert [on for on, *_ in notes(midi, 3)][:3] == [480, 480, 480]


def test_a_slash_chord_gives_its_bass():
    assert notes(tune('"C/E"CDEF|]'), 2)[0][2] == 40


def test_no_chord_is_silence():
    assert [on for on, *_ in notes(tune('"C"C4|"N.C."C4|"C"C4|]'), 2)] == [0, 960, 3840, 4800]


@pytest.mark.parametrize("off", ["option", "directive"])
def test_the_accompaniment_can_be_switched_off(off: str):
    header = HEADER.replace("K:", "%%MIDI gchordoff\nK:") if off == "directive" else HEADER
    assert len(read(tune('"C"CDEF|]', header, accompaniment=off != "option"))) == 2


def test_text_that_is_no_chord_is_not_played():
    assert len(read(tune('"Slowly"CDEF|]'))) == 2


@pytest.mark.parametrize(
    ("meter", "strokes"),
    [
        ("4/4", "0b 1c 2b 3c"),
        ("3/4", "0b 1c 2c"),
        ("2/4", "0b 1/2c 1b 3/2c"),
        ("2/2", "0b 1c 2b 3c"),
        ("6/8", "0b 1c 3/2b 5/2c"),
        ("9/8", "0b 1c 3/2b 5/2c 3b 4c"),
        ("5/4", "0b 1c 2b 3c 4c"),
    ],
)
def test_the_accompaniment_fits_the_meter(meter: str, strokes: str):
    found = read_abc(f"X:1\nM:{meter}\nL:1/4\nK:C\nC|]\n").meter
    assert " ".join(f"{beat.place}{'b' if beat.bass else 'c'}" for beat in pattern(found)) == strokes


def test_the_accompaniment_of_a_pickup_falls_on_the_right_beat():
    assert [on for on, *_ in notes(tune('"C"C|"G"DEFG|]'), 2)] == [0, 480, 1440]


def test_twenty_voices_share_the_channels():
    music = "\n".join(f"V:{number}\nC4|" for number in range(1, 21))
    midi = tune(music)
    channels = {m["channel"] for track in read(midi) for m in track if "channel" in m}
    assert 9 not in channels
    assert len(read(midi)) == 21


def test_pitches_out_of_range_are_left_out():
    assert notes(tune("C,,,,,,,,D''''''''C2|]")) == [(960, 1920, 60, 85)]


def test_a_piece_too_long_for_midi_is_refused():
    bar = Bar((Event(Fraction(300_000)),))
    with pytest.raises(NotationError, match="300000 quarters"):
        write_midi(Score((Part((bar,)),), Meter("4/4", Fraction(4)), Key()))


def test_an_empty_score_is_a_file_without_notes():
    assert len(read(write_midi(Score((), Meter("4/4", Fraction(4)), Key())))) == 1


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="CDEFGABcdefgabz|:[]()12348/-<>{}\"&~.^_= '\n", max_size=120))
def test_no_note_hangs_or_overlaps_whatever_is_written(music: str):
    try:
        score = read_abc(HEADER + music)
        midi = write_midi(score)
    except NotationError:
        return
    pressed: dict[tuple[int, int], int] = defaultdict(int)
    events = [m for track in read(midi) for m in track if m["type"] in ("note_on", "note_off")]
    for message in sorted(events, key=lambda m: (m["time"], m["type"] == "note_on")):
        key = message["channel"], message["note"]
        pressed[key] += 1 if message["type"] == "note_on" else -1
        assert pressed[key] in (0, 1)
    assert not any(pressed.values())


def test_options_set_the_tempo_for_all():
    midi = write_midi(read_abc(HEADER + "C4|[Q:1/4=60]C4|]\n"), options=MidiOptions(tempo=Fraction(90)))
    assert [m["tempo"] for m in metas(midi, "set_tempo")] == [666_667]
