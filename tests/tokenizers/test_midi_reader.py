"""MIDI files read: whole ones exactly, sloppy ones mended and told, hostile ones refused in a line."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers import midi_reader
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import MidiError
from rwkv_music_tokenizers.midi_events import MidiEvent
from rwkv_music_tokenizers.midi_reader import read_events, read_midi
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import MAX_TICK
from rwkv_music_tokenizers.performance_writer import write_performance

DATA = Path(__file__).parents[3] / "shared" / "data"
END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"


def chunk(body: bytes, name: bytes = b"MTrk", length: int | None = None) -> bytes:
    return name + struct.pack(">I", len(body) if length is None else length) + body


def header(tracks: int = 1, kind: int = 1, division: int = 96) -> bytes:
    return chunk(struct.pack(">HHH", kind, tracks, division), b"MThd")


def file(*bodies: bytes, kind: int = 1, division: int = 96) -> bytes:
    return header(len(bodies), kind, division) + b"".join(chunk(body) for body in bodies)


def notes(content: bytes) -> list[list[list[int]]]:
    return [track.notes.tolist() for track in read_midi(content).tracks]


ONE = [[[0, 96, 60, 64]]]


def test_events_stand_at_their_ticks_with_their_values():
    body = (
        b"\x00\xff\x03\x03Air\x00\xff\x01\x02hi\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x58\x04\x06\x03\x18\x08"
        b"\x00\xff\x59\x02\xfe\x01\x00\xc3\x28\x00\xb3\x40\x7f\x81\x00\x93\x3c\x40\x10\x3c\x00\x00\xe3\x00\x00\x05\x83\x3c\x10"
    )
    assert read_events(file(body + END)).tracks == (
        (
            MidiEvent(0, "name", -1, text="Air"),
            MidiEvent(0, "text", -1, text="hi"),
            MidiEvent(0, "tempo", -1, 500_000),
            MidiEvent(0, "meter", -1, 6, 8),
            MidiEvent(0, "key", -1, -2, 1),
            MidiEvent(0, "program", 3, 40),
            MidiEvent(0, "control", 3, 64, 127),
            MidiEvent(128, "on", 3, 60, 64),
            # A stroke of velocity 0 is a release.
            MidiEvent(144, "off", 3, 60, 0),
            MidiEvent(144, "bend", 3, -8192),
            MidiEvent(149, "off", 3, 60, 16),
            MidiEvent(149, "end", -1),
        ),
    )


def test_what_is_not_kept_keeps_its_time():
    unknown = b"\x10\xff\x7f\x02ab\x10\xf0\x03\x01\x02\xf7\x10\xd0\x01\x10\xa0\x3c\x01"
    assert notes(file(unknown + NOTE + END)) == [[[64, 160, 60, 64]]]


def test_a_file_in_riff_is_read():
    midi = file(NOTE + END)
    body = b"RMIDLIST" + struct.pack("<I", 3) + b"abc\x00data" + struct.pack("<I", len(midi)) + midi + b"moreandmore"
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    assert notes(content) == ONE
    assert read_midi(content).repairs == ()


def test_chunks_of_other_kinds_are_passed_over():
    content = header() + chunk(b"whatever", b"XFIH") + chunk(NOTE + END) + chunk(b"\x00\x01", b"XFKM")
    assert notes(content) == ONE
    assert read_midi(content).repairs == ()


MENDED = {
    "no end of track": (file(NOTE), "track 1, byte 30: the track breaks off without its end"),
    "running status across a meta event": (file(b"\x00\x90\x3c\x40\x00\xff\x06\x01a\x60\x3c\x00" + END), ""),
    "running status across system exclusive": (file(b"\x00\x90\x3c\x40\x00\xf0\x01\xf7\x60\x3c\x00" + END), ""),
    "real time in a file": (
        file(b"\x00\xf8\x00\xf2\x01\x02" + NOTE + END),
        "track 1, byte 22: status 0xf8, which has no place in a file, is left out",
    ),
    "a data byte too big": (
        file(b"\x00\xb0\x07\xff" + NOTE + END),
        "track 1, byte 22: a data byte above 127 is taken for 127",
    ),
    "a tempo of nothing": (file(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + END), "a tempo that there is not is left out"),
    "a key of nine flats": (file(b"\x00\xff\x59\x02\xf7\x00" + NOTE + END), "a key that there is not is left out"),
    "a meter of no beats": (file(b"\x00\xff\x58\x04\x00\x02\x18\x08" + NOTE + END), "a meter that there is not"),
    "a meter cut short": (file(b"\x00\xff\x58\x01\x04" + NOTE + END), "a meter that there is not is left out"),
    "a number of five bytes": (file(NOTE + b"\xff\xff\xff\xff\x00\x90\x3c\x40"), "a number of more than four bytes"),
    "a track longer than the file": (header() + chunk(NOTE + END, length=999), "a chunk of the wrong length"),
    "a track that swallows the next": (
        header(2) + chunk(END, length=len(END) + 8 + len(NOTE + END)) + chunk(NOTE + END),
        "",
    ),
    "a track of no length": (header(2) + chunk(NOTE + END, length=0) + chunk(END), "a chunk of the wrong length"),
    "more tracks told than there are": (header(7) + chunk(NOTE + END), "the header tells 7 tracks, there are 1"),
    "an event after the end": (file(NOTE + END + NOTE), "8 bytes behind the end of track 1 are left out"),
    "a file cut within an event": (file(NOTE + b"\x00\x90\x40" + END)[:-5], "the track breaks off without its end"),
    "an event longer than its track": (file(NOTE + b"\x00\xff\x01\x7fabc"), "an event longer than what is left of it"),
    "data without a status": (file(b"\x00\x3c\x40" + END, NOTE + END), "data without a status"),
    "a stroke never released": (
        file(b"\x00\x90\x3c\x40\x60\xff\x2f\x00"),
        "1 note never released, ended with the track",
    ),
    "a note without length": (
        file(NOTE + b"\x00\x90\x3d\x40\x00\x80\x3d\x00" + END),
        "1 note without length, left out",
    ),
    "bytes in front": (b"\x00" * 128 + file(NOTE + END), "128 bytes before the header are left out"),
    "an unknown type": (file(NOTE + END, kind=9), "type 9, which there is not, is read as type 1"),
    "tracks in a file of type 0": (file(NOTE + END, END, kind=0), "a file of type 0 with 2 tracks is read as type 1"),
    "a note after the age of the earth": (
        file(NOTE + b"\xff\xff\xff\x7f\x90\x3c\x40" + END),
        "the piece is left out from tick 19200000 on",
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_a_sloppy_file_is_mended_and_tells_it(case: str):
    content, repair = MENDED[case]
    assert notes(content) == ONE
    assert repair in " ".join(read_midi(content).repairs)
    assert bool(repair) == bool(read_midi(content).repairs)


def test_a_track_that_swallows_the_next_gives_it_back():
    body = NOTE + END
    content = header(2) + chunk(body, length=2 * len(body) + 8) + chunk(body)
    assert notes(content) == [*ONE, *ONE]


REFUSED = {
    "nothing": (b"", "byte 0: this is no MIDI file"),
    "text": (b"X:1\nK:C\nCDEF|\n", "byte 0: this is no MIDI file"),
    "half a header": (header()[:12], "byte 0: the file ends within its header"),
    "no track": (header(), "byte 14: no track follows the header"),
    "no ticks": (file(NOTE + END, division=0), "byte 12: a quarter note of 0 ticks"),
    "frames of no film": (file(NOTE + END, division=0x8728), "byte 12: 121 frames a second"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_midi_file_is_refused_with_its_place(case: str):
    content, message = REFUSED[case]
    with pytest.raises(MidiError, match=message) as caught:
        read_events(content)
    assert "\n" not in str(caught.value)


def test_limits_keep_hostile_files_small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(midi_reader, "MAX_EVENTS", 10)
    with pytest.raises(MidiError, match="more events than a file may have"):
        read_events(file(NOTE * 3 + END, NOTE * 3 + END))
    monkeypatch.setattr(midi_reader, "MAX_TRACKS", 3)
    with pytest.raises(MidiError, match="more than 3 tracks"):
        read_events(file(END, END, END, END))
    monkeypatch.setattr(midi_reader, "MAX_BYTES", 50)
    with pytest.raises(MidiError, match="at most 50 are read"):
        read_events(file(NOTE * 4 + END))


def test_a_key_struck_twice_is_released_in_the_order_of_the_strokes():
    body = b"\x00\x90\x3c\x40\x0a\x90\x3c\x50\x0a\x80\x3c\x00\x0a\x80\x3c\x00"
    assert notes(file(body + END)) == [[[0, 20, 60, 64], [10, 30, 60, 80]]]


def test_a_release_after_a_change_of_program_ends_the_note_of_the_old_one():
    body = b"\x00\xc0\x05\x00\x90\x3c\x40\x0a\xc0\x07\x00\x90\x3e\x40\x0a\x80\x3c\x00\x00\x80\x3e\x00"
    played = read_midi(file(body + END))
    assert [(track.program, track.notes.tolist()) for track in played.tracks] == [
        (5, [[0, 20, 60, 64]]),
        (7, [[10, 20, 62, 64]]),
    ]


def test_all_notes_off_releases_its_channel_alone():
    body = b"\x00\x90\x3c\x40\x00\x91\x3c\x40\x0a\xb0\x7b\x00\x0a\x81\x3c\x00"
    played = read_midi(file(body + END))
    assert [track.notes.tolist() for track in played.tracks] == [[[0, 10, 60, 64]], [[0, 20, 60, 64]]]
    assert played.repairs == ()


def test_a_program_chosen_in_another_track_holds_unless_a_track_chooses_its_own():
    chosen = b"\x00\xc0\x28\x00\xc1\x29\x00\xc9\x08"
    drum = NOTE.replace(b"\x90", b"\x99").replace(b"\x80", b"\x89")
    own = NOTE.replace(b"\x90", b"\x91").replace(b"\x80", b"\x81")
    played = read_midi(file(chosen + END, NOTE + END, b"\x00\xc1\x10" + own + END, drum + END))
    assert [(track.program, track.drums) for track in played.tracks] == [(0x28, False), (0x10, False), (8, True)]


def test_pedals_go_down_and_come_up():
    body = b"\x00\xb0\x40\x7f\x0a\xb0\x40\x60\x0a\xb0\x40\x00\x00\xb0\x40\x7f\x0a\xb0\x40\x3f\x0a\xb0\x40\x40"
    (track,) = read_midi(file(body + NOTE + END)).tracks
    # Pressed again at tick 20, where it came up; down to the end of the track.
    assert track.pedals.tolist() == [[0, 19], [20, 30], [40, 136]]


def test_a_track_without_notes_works_the_pedals_of_the_others():
    (track,) = read_midi(file(b"\x00\xb0\x40\x7f\x0a\xb0\x40\x00" + END, NOTE + END)).tracks
    assert track.pedals.tolist() == [[0, 10]]


def test_maps_begin_at_the_beginning_and_tell_only_changes():
    tempos = b"\x20\xff\x51\x03\x00\x00\x05\x10\xff\x51\x03\x00\x00\x05\x10\xff\x51\x03\x00\x00\x07"
    played = read_midi(file(tempos + END, b"\x40\xff\x51\x03\x00\x00\x09" + NOTE + END))
    # At tick 64 the first track's tempo counts.
    assert played.tempos.tolist() == [[0, 500_000], [32, 5], [64, 7]]
    assert played.meters.tolist() == [[0, 4, 4]]
    assert played.keys.tolist() == []


def test_patterns_of_a_file_of_type_2_follow_each_other():
    tempo = b"\x00\xff\x51\x03\x00\x00\x05"
    played = read_midi(file(NOTE + END, tempo + NOTE + END, kind=2))
    assert [track.notes.tolist() for track in played.tracks] == [[[0, 96, 60, 64]], [[96, 192, 60, 64]]]
    assert played.tempos.tolist() == [[0, 500_000], [96, 5]]


@pytest.mark.parametrize("kind", [1, 2])
def test_whatever_is_read_can_be_written_however_late_its_notes_come(kind: int):
    # Two rests of nearly all the ticks that a delta time can say, at many ticks a quarter.
    late = b"\xff\xff\xff\x00\xff\x01\x00"
    bodies = (NOTE + late + late + NOTE + END, late + NOTE + END)
    played = read_midi(file(*bodies, kind=kind, division=20_000))
    again = read_midi(write_performance(played))
    assert again.count == played.count >= 1
    assert played.end <= MAX_TICK


@pytest.mark.parametrize(
    ("frames", "parts", "seconds"), [(24, 4, 1.0), (25, 40, 0.096), (25, 3, 1.28), (30, 8, 0.4), (29, 8, 0.4004)]
)
def test_a_file_timed_in_frames_of_film_sounds_when_it_should(frames: int, parts: int, seconds: float):
    tempo = b"\x00\xff\x51\x03\x00\x00\x05"
    played = read_midi(file(tempo + NOTE + END, division=(256 - frames) << 8 | parts))
    assert played.seconds(played.tracks[0].notes[0, 1:2]).tolist() == pytest.approx([seconds])


@pytest.mark.parametrize(
    ("name", "text"),
    [("Übung".encode(), "Übung"), ("Übung".encode("latin-1"), "Übung"), (b"a\x00\x1b[2Jb\nc ", "a[2Jb c")],
)
def test_names_are_read_in_utf_8_or_latin_1_without_control_characters(name: bytes, text: str):
    played = read_midi(file(b"\x00\xff\x03" + bytes([len(name)]) + name + NOTE + END, END))
    assert played.tracks[0].name == text
    assert played.title == ""


def test_a_track_without_notes_names_the_piece():
    played = read_midi(file(b"\x00\xff\x03\x03Air" + END, b"\x00\xff\x03\x05Oboe " + NOTE + END))
    assert (played.title, played.tracks[0].name) == ("Air", "Oboe")


WHOLE = write_midi(read_abc('X:1\nT:Air\nM:3/4\nQ:1/4=90\nK:D\n"D"DFA|[df]2 z|(3DEF G2|]\n'))


def survives(content: bytes) -> None:
    """Read, or refused in one line."""
    try:
        played = read_midi(content)
    except MidiError as error:
        assert "\n" not in str(error)
        return
    assert len(played.repairs) <= midi_reader.MAX_REPAIRS + 3
    for track in played.tracks:
        assert (track.notes[:, 0] < track.notes[:, 1]).all()
        assert (track.notes >= 0).all()
        assert (track.notes[:, 2:] < 128).all()
        assert (track.notes[:, 3] > 0).all()
        assert track.pedals.ravel().tolist() == sorted(set(track.pedals.ravel().tolist()))
    for changes in (played.tempos, played.meters, played.keys):
        assert changes[:, 0].tolist() == sorted(set(changes[:, 0].tolist()))
    assert played.tempos[0, 0] == played.meters[0, 0] == 0


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_file_with_any_bytes_changed_is_read_or_refused(data: st.DataObject):
    content = bytearray(WHOLE)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    survives(bytes(content[: cut or None]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 2), st.sampled_from([96, 0x7FFF, 1, 0xE728]))
def test_a_track_of_any_bytes_is_read_or_refused(body: bytes, kind: int, division: int):
    survives(file(body, body, kind=kind, division=division))
    survives(body)
