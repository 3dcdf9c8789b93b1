"""Music goes into notes and comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers import note_encoder
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer, range_of, transposed
from rwkv_music_tokenizers.note_vocabulary import NAMES, SIZE
from rwkv_music_tokenizers.performance import Performance, Track, rows

NOTES = NoteTokenizer()
GRID = NoteOptions(clock="grid")
PERF = NoteOptions(clock="perf")
KEPT = NoteOptions(pedal="keep", silent=True)


def track(*notes, program=0, drums=False, pedals=()):
    return Track(rows([(*note, 64)[:4] for note in notes], 4), program, drums, pedals=rows(list(pedals), 2))


def music(ids):
    """The names after the header, without the end."""
    words = NOTES.text(ids).split()
    begin = next(place for place, word in enumerate(words) if word == "bar" or word.startswith("time:"))
    return " ".join(words[begin:]).removesuffix(" <eos>")


def header(ids):
    words = NOTES.text(ids).split()
    end = next(place for place, word in enumerate([*words, "bar"]) if word == "bar" or word.startswith("time:"))
    return " ".join(words[:end])


def same(first: Performance, second: Performance) -> bool:
    tables = [(getattr(first, name), getattr(second, name)) for name in ("tempos", "meters", "keys")]
    for one, other in zip(first.tracks, second.tracks, strict=True):
        if (one.program, one.drums) != (other.program, other.drums):
            return False
        tables += [(one.notes, other.notes), (one.pedals, other.pedals)]
    return first.ticks == second.ticks and all(np.array_equal(one, other) for one, other in tables)


def test_a_tune_is_written_bar_by_bar():
    tune = Performance(
        (track((0, 24, 62), (24, 36, 64, 80), (72, 144, 66, 82), program=73),),
        24,
        meters=rows([(0, 3, 4)], 3),
        keys=rows([(0, 2, 0)], 3),
    )
    ids = NOTES.encode(tune, GRID)
    assert header(ids) == "<bos> <grid> kind:tune meter:3/4 key:D tempo:120 part:0 program:73"
    assert music(ids) == (
        "bar time:0 part:0 pitch:62 length:24 time:24 velocity:10 pitch:64 length:12 bar time:0 pitch:66 length:72"
    )
    assert ids.dtype == np.uint16 and ids[0] == NOTES.bos and ids[-1] == NOTES.eos
    assert NOTES.bars(ids).tolist() == [8, 17]


def test_parts_are_named_where_they_change_and_each_keeps_its_velocity():
    duo = Performance((track((0, 24, 70, 90), (24, 48, 72, 90)), track((0, 24, 40, 30), (24, 48, 41, 30))), 24)
    assert music(NOTES.encode(duo, GRID)) == (
        "bar time:0 part:0 velocity:11 pitch:70 length:24 part:1 velocity:3 pitch:40 length:24 "
        "time:24 part:0 pitch:72 length:24 part:1 pitch:41 length:24"
    )


def test_a_part_that_goes_on_is_not_named_again():
    duo = Performance((track((0, 24, 70)), track((0, 24, 40), (24, 48, 41))), 24)
    assert music(NOTES.encode(duo, GRID)).endswith("part:1 pitch:40 length:24 time:24 pitch:41 length:24")


def test_drums_have_no_length():
    beat = Performance((track((0, 1, 36), (24, 90, 38), drums=True, program=8),), 24)
    ids = NOTES.encode(beat, GRID)
    assert header(ids).endswith("kind:drums meter:4/4 key:none tempo:120 part:0 program:drums")
    assert music(ids) == "bar time:0 part:0 drum:36 time:24 drum:38"
    assert NOTES.decode(ids).tracks[0].notes.tolist() == [[0, 120, 36, 68], [480, 600, 38, 68]]


def test_a_note_ends_where_its_pitch_is_struck_again():
    line = Performance((track((0, 100, 60), (48, 72, 60)),), 24)
    assert music(NOTES.encode(line, GRID)) == "bar time:0 part:0 pitch:60 length:48 time:48 pitch:60 length:24"


def test_a_length_is_not_rounded_up_into_the_next_note_of_its_pitch():
    line = Performance((track((0, 51, 60), (51, 75, 60)),), 24)
    assert music(NOTES.encode(line, GRID)) == "bar time:0 part:0 pitch:60 length:48 time:51 pitch:60 length:24"


def test_of_two_notes_in_one_the_longer_stays():
    line = Performance((track((0, 12, 60), (0, 24, 60)),), 24)
    assert music(NOTES.encode(line, GRID)) == "bar time:0 part:0 pitch:60 length:24"


def test_both_ends_are_rounded_so_that_errors_never_add_up():
    # 1000 notes of 10.1 units each.
    line = Performance((track(*((101 * n, 101 * n + 101, 60) for n in range(1000))),), 240)
    back = NOTES.decode(NOTES.encode(line, GRID)).tracks[0].notes
    assert np.abs(back[:, 0] / 20 - np.arange(1000) * 10.1).max() <= 0.5


def test_meters_keys_and_tempos_stand_where_they_change():
    piece = Performance(
        (track((0, 24, 60), (96, 120, 62), (168, 192, 64)),),
        24,
        tempos=rows([(0, 500_000), (108, 1_000_000), (109, 1_000_001)], 2),
        meters=rows([(0, 4, 4), (96, 6, 8)], 3),
        keys=rows([(0, -1, 1), (97, 0, 0)], 3),
    )
    ids = NOTES.encode(piece, GRID)
    assert "meter:4/4 key:Dm tempo:120" in header(ids)
    assert music(ids) == (
        "bar time:0 part:0 pitch:60 length:24 bar meter:6/8 key:C time:0 pitch:62 length:24 "
        "time:12 tempo:60 bar time:0 pitch:64 length:24"
    )
    back = NOTES.decode(ids)
    assert back.tempos.tolist() == [[0, 500_000], [2160, 1_000_000]]
    assert back.meters.tolist() == [[0, 4, 4], [1920, 6, 8]]
    assert back.keys.tolist() == [[0, -1, 1], [1920, 0, 0]]


def test_what_changes_after_the_last_note_is_left_out():
    piece = Performance(
        (track((0, 24, 60)),),
        24,
        tempos=rows([(0, 500_000), (24, 1_000_000)], 2),
        meters=rows([(0, 4, 4), (96, 6, 8)], 3),
        keys=rows([(96, 0, 0)], 3),
    )
    ids = NOTES.encode(piece, GRID)
    assert "key:none" in header(ids)
    assert music(ids) == "bar time:0 part:0 pitch:60 length:24"


def test_a_performance_counts_hundredths_of_a_second():
    piece = Performance((track((0, 500, 60), (505, 4500, 62)),), 480, tempos=rows([(0, 480_000)], 2))
    ids = NOTES.encode(piece, PERF)
    assert header(ids) == "<bos> <perf> kind:tune part:0 program:0"
    assert music(ids) == "time:0 part:0 pitch:60 length:48 time:50 pitch:62 length:384"
    back = NOTES.decode(ids)
    assert (back.ticks, back.tempos.tolist()) == (480, [[0, 480_000]])
    assert back.tracks[0].notes.tolist() == [[0, 480, 60, 68], [500, 4340, 62, 68]]


@pytest.mark.parametrize(
    ("silence", "times"), [(1910, [191]), (1920, [191, 1]), (3820, [191, 191]), (5000, [191, 191, 118])]
)
def test_long_silences_take_several_times(silence, times):
    piece = Performance((track((0, 10, 60), (silence, silence + 10, 60)),), 480, tempos=rows([(0, 480_000)], 2))
    ids = NOTES.encode(piece, PERF)
    told = " ".join(f"time:{time}" for time in times)
    assert music(ids) == f"time:0 part:0 pitch:60 length:1 {told} pitch:60 length:1"
    assert NOTES.decode(ids).tracks[0].notes[1, 0] == silence


PEDALLED = Performance(
    (track((0, 100, 60), (50, 600, 64), (900, 950, 60), pedals=[(40, 1000)]),), 480, tempos=rows([(0, 480_000)], 2)
)


def test_the_pedal_holds_notes_until_it_comes_up_or_they_are_struck_again():
    assert NOTES.decode(NOTES.encode(PEDALLED, PERF)).tracks[0].notes[:, :3].tolist() == [
        [0, 880, 60],
        [50, 1010, 64],
        [900, 1000, 60],
    ]


def test_both_hands_at_a_piano_share_its_pedal():
    left = track((0, 100, 40), pedals=[(0, 500)])
    hands = Performance((track((0, 100, 60)), left, track((0, 100, 50), program=48)), 480, rows([(0, 480_000)], 2))
    ends = [played.notes[0, 1] for played in NOTES.decode(NOTES.encode(hands, PERF)).tracks]
    assert ends == [480, 480, 100]
    kept = NOTES.decode(NOTES.encode(hands, NoteOptions(clock="perf", pedal="keep")))
    assert [len(played.pedals) for played in kept.tracks] == [0, 1, 0]


def test_the_pedal_may_be_kept_or_dropped():
    kept = NOTES.encode(PEDALLED, NoteOptions(clock="perf", pedal="keep"))
    assert music(kept).startswith("time:0 part:0 pitch:60 length:10 time:4 pedal:down time:1 pitch:64")
    assert music(kept).endswith("time:10 pedal:up")
    assert NOTES.decode(kept).tracks[0].pedals.tolist() == [[40, 1000]]
    dropped = NOTES.decode(NOTES.encode(PEDALLED, NoteOptions(clock="perf", pedal="drop")))
    assert dropped.tracks[0].notes[:, 1].tolist() == [100, 610, 950]


def test_a_pedal_that_comes_up_and_goes_down_at_once_is_up_for_a_moment():
    piece = Performance((track((0, 100, 60), pedals=[(0, 100), (101, 200)]),), 480, tempos=rows([(0, 480_000)], 2))
    ids = NOTES.encode(piece, NoteOptions(clock="perf", pedal="keep"))
    assert NOTES.decode(ids).tracks[0].pedals.tolist() == [[0, 90], [100, 200]]


def test_written_notes_choose_the_grid_and_played_ones_the_clock():
    written = track(*((240 * n + 160 * (n % 3), 240 * n + 500, 60) for n in range(50)))
    moved = np.random.default_rng(1).integers(0, 480, 50).cumsum()
    played = track(*((int(tick), int(tick) + 100, 60) for tick in moved))
    assert "<grid>" in NOTES.text(NOTES.encode(Performance((written,), 480)))
    assert "<perf>" in NOTES.text(NOTES.encode(Performance((played,), 480)))
    assert "<perf>" in NOTES.text(NOTES.encode(Performance((played,), 24)))


@pytest.mark.parametrize(
    ("tracks", "kind"),
    [
        ([track((0, 9, 60), (9, 18, 62), program=73)], "tune"),
        ([track((0, 9, 60), (0, 9, 64), program=0)], "piano"),
        ([track((0, 9, 60), program=0), track((0, 9, 40), program=1)], "piano"),
        ([track((0, 9, 60), program=52), track((0, 9, 40), (0, 9, 47), program=0)], "song"),
        ([track((0, 9, 60), (0, 9, 64), program=52), track((0, 9, 40), program=0)], "ensemble"),
        ([track((0, 9, 60), program=40), track((0, 9, 40), program=42)], "strings"),
        ([track((0, 9, 60), program=46), track((0, 9, 40), program=42)], "ensemble"),
        ([track((0, 9, 36), drums=True)], "drums"),
        ([track((0, 9, 36), drums=True), track((0, 9, 60))], "ensemble"),
        ([], "ensemble"),
    ],
)
def test_instruments_make_the_kind_of_a_piece(tracks, kind):
    assert f"kind:{kind}" in header(NOTES.encode(Performance(tuple(tracks), 24), GRID))


def test_the_kind_may_be_given():
    assert "kind:other" in header(NOTES.encode(Performance((), 24), NoteOptions(kind="other")))


def test_more_than_sixteen_tracks_join_the_nearest_instruments():
    many = [track((0, 24, 30 + n), (24, 48, 30 + n), program=6 * n) for n in range(15)]
    many += [track((0, 24, 90), program=0), track((0, 24, 91), program=31), track((0, 24, 36), drums=True)]
    back = NOTES.decode(NOTES.encode(Performance(tuple(many), 24), GRID))
    assert len(back.tracks) == 16
    assert back.count == 15 * 2 + 3
    assert back.tracks[0].notes[:, 2].tolist() == [30, 90, 30]
    assert back.tracks[-1].drums
    assert 91 in next(track for track in back.tracks if track.program == 30).notes[:, 2]


def test_silent_tracks_are_left_out_unless_wanted():
    piece = Performance((track(), track((0, 24, 60), program=40), track(program=41)), 24)
    assert header(NOTES.encode(piece, GRID)).endswith("tempo:120 part:0 program:40")
    assert [played.program for played in NOTES.decode(NOTES.encode(piece, KEPT)).tracks] == [0, 40, 41]


@pytest.mark.parametrize("options", [{"clock": "bars"}, {"pedal": "half"}, {"kind": "jazz"}])
def test_an_unknown_choice_is_refused(options):
    with pytest.raises(ValueError, match="must be one of"):
        NoteOptions(**options)


@pytest.mark.parametrize("clock", ["grid", "perf"])
def test_a_piece_without_an_end_is_refused(clock):
    with pytest.raises(ValueError, match="cut it"):
        NOTES.encode(Performance((track((0, 1 << 40, 60)),), 1), NoteOptions(clock=clock))
    pedal = Performance((track((0, 1, 60), pedals=[(0, 1 << 40)]),), 1)
    with pytest.raises(ValueError, match="cut it"):
        NOTES.encode(pedal, NoteOptions(clock=clock, pedal="keep"))


def test_names_become_ids_again():
    ids = NOTES.encode(PEDALLED)
    assert np.array_equal(NOTES.from_text(NOTES.text(ids)), ids)
    assert NOTES.tokenizer().encode("bar time:3").ids == NOTES.from_text("bar time:3").tolist()
    with pytest.raises(ValueError, match="'pitch:128' is no token"):
        NOTES.from_text("bar pitch:128")


@pytest.mark.parametrize("wrong", [-1, SIZE])
def test_an_id_beyond_the_vocabulary_is_refused(wrong):
    with pytest.raises(ValueError, match=f"range 0..895, not {wrong}"):
        NOTES.decode([1, wrong])


def test_a_note_without_its_length_is_not_there_yet():
    ids = NOTES.from_text("<bos> <grid> kind:tune part:0 program:5 bar time:6 part:0 velocity:2 pitch:60")
    assert NOTES.decode(ids).count == 0
    assert NOTES.decode(NOTES.from_text(NOTES.text(ids) + " length:6")).tracks[0].notes.tolist() == [[120, 240, 60, 20]]


def test_transposed_music_is_the_music_higher():
    piece = Performance(
        (track((0, 24, 60), (24, 48, 67)), track((0, 24, 36), drums=True)), 24, keys=rows([(0, 4, 1)], 3)
    )
    ids = NOTES.encode(piece, GRID)
    assert range_of(ids) == (60, 67)
    back = NOTES.decode(transposed(ids, 3))
    assert back.tracks[0].notes[:, 2].tolist() == [63, 70]
    assert back.tracks[1].notes[:, 2].tolist() == [36]
    assert back.keys.tolist() == [[0, 1, 1]]
    assert range_of(transposed(ids, -60)) == (0, 7)
    with pytest.raises(ValueError, match=r"move by -60\.\.60"):
        transposed(ids, 61)


def test_drums_alone_can_be_moved_anywhere():
    ids = NOTES.encode(Performance((track((0, 24, 36), drums=True),), 24), GRID)
    low, high = range_of(ids)
    assert np.array_equal(transposed(ids, -low), ids) and np.array_equal(transposed(ids, 127 - high), ids)


# Pieces as strangers send them: off the grid, overlapping, in odd meters.
ticks = st.integers(0, 3000)
notes = st.lists(
    st.tuples(ticks, st.integers(1, 3000), st.integers(58, 66), st.integers(1, 127)).map(
        lambda note: (note[0], note[0] + note[1], *note[2:])
    ),
    max_size=12,
).map(lambda table: rows(sorted(table, key=lambda note: (note[0], note[2], note[1])), 4))


def apart(times):
    """Every second time with the one after it."""
    return rows(list(zip(times[::2], times[1::2], strict=False)), 2)


rising = st.lists(st.tuples(ticks, ticks), max_size=4).map(
    lambda pairs: apart(sorted({tick for pair in pairs for tick in pair}))
)
tracks = st.builds(Track, notes, st.integers(0, 127), st.booleans(), st.just(""), rising)


def table(*columns):
    return st.lists(st.tuples(ticks, *columns), max_size=4).map(
        lambda told: rows(sorted({row[0]: row for row in told}.values()), 1 + len(columns))
    )


pieces = st.builds(
    Performance,
    st.lists(tracks, max_size=18).map(tuple),
    st.sampled_from([1, 24, 96, 100, 480]),
    table(st.integers(1, 4_000_000)),
    table(st.integers(1, 40), st.sampled_from([1, 2, 4, 8, 16, 32, 64])),
    table(st.integers(-7, 7), st.integers(0, 1)),
)


@settings(deadline=None, max_examples=100)
@given(pieces, st.sampled_from(["grid", "perf"]), st.sampled_from(["fold", "keep", "drop"]))
def test_what_was_once_encoded_survives_unchanged(piece, clock, pedal):
    ids = NOTES.encode(piece, NoteOptions(clock, pedal, "other"))
    back = NOTES.decode(ids)
    again = NOTES.encode(back, NoteOptions(clock, "keep", "other"))
    assert NOTES.text(again) == NOTES.text(ids)
    assert same(NOTES.decode(again), back)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(pieces, max_size=5),
    st.builds(
        NoteOptions, *map(st.sampled_from, (["auto", "grid", "perf"], ["fold", "keep", "drop"])), silent=st.booleans()
    ),
)
def test_many_pieces_are_encoded_as_each_alone(many, options):
    alone = [NOTES.text(NOTES.encode(piece, options)) for piece in many]
    assert [NOTES.text(ids) for ids in NOTES.encode_many(many, options)] == alone


def test_many_pieces_are_told_apart_when_they_are_the_same(monkeypatch):
    monkeypatch.setattr(note_encoder, "_NOTES", 7)
    written = Performance((track((0, 24, 60, 90), (24, 48, 60, 90)), track((0, 1, 36), drums=True)), 24)
    many = [written, PEDALLED, Performance((), 24), written, written, PEDALLED, PEDALLED] * 3
    texts = [NOTES.text(ids) for ids in NOTES.encode_many(many)]
    assert texts == [NOTES.text(NOTES.encode(piece)) for piece in many]
    assert len(set(texts)) == 3
    assert NOTES.encode_many([]) == []


def test_a_pedal_of_any_of_many_pieces_may_come_up_bars_after_its_last_note():
    held = Performance((track((0, 24, 60), pedals=[(0, 500)]),), 24)
    options = NoteOptions(clock="grid", pedal="keep")
    alone, *others = (NOTES.text(ids) for ids in NOTES.encode_many([held] * 3, options))
    assert alone.endswith("length:24 bar bar bar bar bar time:20 pedal:up <eos>")
    assert others == [alone, alone]


def test_of_many_pieces_one_without_an_end_is_refused():
    endless = Performance((track((0, 1 << 40, 60)),), 1)
    with pytest.raises(ValueError, match="cut it"):
        NOTES.encode_many([PEDALLED, endless])


@settings(deadline=None, max_examples=50)
@given(pieces, st.data())
def test_the_music_of_a_beginning_is_the_beginning_of_the_music(piece, data):
    ids = NOTES.encode(piece, KEPT)
    cut = data.draw(st.integers(0, len(ids)))
    whole = NOTES.decode(ids)
    for number, begun in enumerate(NOTES.decode(ids[:cut]).tracks):
        columns = [0, 2, 3] if begun.drums else [0, 1, 2, 3]
        assert np.array_equal(begun.notes[:, columns], whole.tracks[number].notes[: len(begun.notes), columns])


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, SIZE - 1), max_size=60)
    | st.lists(st.sampled_from(NAMES[32:34] + NAMES[300:600]).map(NAMES.index))
)
def test_any_tokens_are_some_music(tokens):
    for played in NOTES.decode(tokens).tracks:
        assert (played.notes[:, 0] < played.notes[:, 1]).all()
        assert (played.pedals[:, 0] < played.pedals[:, 1]).all()
        for pitch in set(played.notes[:, 2].tolist()):
            own = played.notes[played.notes[:, 2] == pitch]
            assert (own[1:, 0] >= own[:-1, 1]).all()
