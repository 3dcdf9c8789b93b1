"""What symusic read is music to us, note for note."""

from typing import Any

import pytest
import symusic

from rwkv_music_tokenizers.symusic_scores import from_symusic, from_symusic_many


def score(*tracks, ticks=480, **more):
    made: Any = symusic.Score(ticks)
    for track in tracks:
        made.tracks.append(track)
    for name, events in more.items():
        getattr(made, name).extend(events)
    return made


def track(*notes, program=0, drums=False, pedals=()):
    made: Any = symusic.Track("violin", program, drums)
    made.notes.extend(symusic.Note(*note) for note in notes)
    made.pedals.extend(symusic.Pedal(*pedal) for pedal in pedals)
    return made


def test_notes_come_by_start_and_then_by_pitch():
    piece = from_symusic(score(track((480, 10, 60, 5), (0, 20, 64, 1), (0, 30, 60, 127), program=40)))
    assert piece.tracks[0].notes.tolist() == [[0, 30, 60, 127], [0, 20, 64, 1], [480, 490, 60, 5]]
    assert (piece.ticks, piece.tracks[0].program, piece.tracks[0].name) == (480, 40, "violin")


def test_what_cannot_sound_is_left_out():
    piece = from_symusic(score(track((0, 0, 60, 64)), track((0, 10, 60, 0)), track((0, 10, 36, 9), drums=True)))
    assert [played.drums for played in piece.tracks] == [True]


def test_a_piece_begins_in_common_time_at_120_if_it_does_not_say():
    piece = from_symusic(
        score(tempos=[symusic.Tempo(960, mspq=400_000)], time_signatures=[symusic.TimeSignature(1920, 3, 8)])
    )
    assert piece.tempos.tolist() == [[0, 500_000], [960, 400_000]]
    assert piece.meters.tolist() == [[0, 4, 4], [1920, 3, 8]]
    assert piece.keys.tolist() == []


def test_of_two_keys_at_one_time_the_last_holds():
    keys = [symusic.KeySignature(0, 0, 0), symusic.KeySignature(0, -3, 1)]
    assert from_symusic(score(key_signatures=keys)).keys.tolist() == [[0, -3, 1]]


def test_pedals_that_touch_are_one():
    pedals = [(0, 100), (100, 50), (300, 0), (400, 10)]
    assert from_symusic(score(track((0, 10, 60, 64), pedals=pedals))).tracks[0].pedals.tolist() == [
        [0, 150],
        [400, 410],
    ]


def test_many_scores_are_the_pieces_that_each_is_alone():
    scores = [
        score(track((480, 10, 60, 5), (0, 20, 64, 1), (0, 30, 60, 127), pedals=[(0, 100)]), track((0, 0, 60, 64))),
        score(ticks=96, key_signatures=[symusic.KeySignature(0, -3, 1)]),
        score(track((5, 0, 60, 64), (5, 7, 61, 64)), track((0, 10, 36, 9), drums=True), ticks=24),
        score(track((0, 10, 60, 64)), tempos=[symusic.Tempo(0, mspq=1), symusic.Tempo(960, mspq=400_000)]),
    ]
    many = from_symusic_many(scores)
    assert [piece.count for piece in many] == [3, 0, 2, 1]
    for piece, alone in zip(many, map(from_symusic, scores), strict=True):
        assert piece.ticks == alone.ticks
        for name in ("tempos", "meters", "keys"):
            assert getattr(piece, name).tolist() == getattr(alone, name).tolist()
        for played, own in zip(piece.tracks, alone.tracks, strict=True):
            assert (played.program, played.drums, played.name) == (own.program, own.drums, own.name)
            assert played.notes.tolist() == own.notes.tolist()
            assert played.pedals.tolist() == own.pedals.tolist()
            assert not played.notes.flags.writeable
    assert from_symusic_many([]) == []


def test_a_score_without_ticks_is_refused():
    with pytest.raises(ValueError, match="no ticks"):
        from_symusic(score(ticks=0))
