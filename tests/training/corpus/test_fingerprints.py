"""The rungs of the ladder: each forgets what the one below tells, and no more."""

from fractions import Fraction

import numpy as np
import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_training.corpus.fingerprints import BANDS, bands, fingerprints, jaccard, melody, shingles
from rwkv_music_training.corpus.sounding import sounding_performance, sounding_score


def prints(performance: Performance):
    return fingerprints(b"", sounding_performance(performance))


def line(*notes: tuple[int, int, int]) -> Performance:
    return Performance((Track(rows([(*note, 80) for note in notes], 4)),), 480)


def test_loudness_is_no_note(make_piece):
    soft, loud = prints(make_piece(1, loud=40)), prints(make_piece(1, loud=90))
    assert soft.notes == loud.notes and soft.shape == loud.shape


@pytest.mark.parametrize("change", [{"shift": 3}, {"stretch": 2}, {"shift": -5, "stretch": 3}])
def test_key_and_note_values_are_no_shape(make_piece, change):
    one, other = prints(make_piece(1)), prints(make_piece(1, **change))
    assert one.notes != other.notes and one.shape == other.shape
    assert jaccard(one.shingles, other.shingles) == 1.0


def test_other_music_has_another_shape(make_piece):
    assert prints(make_piece(1)).shape != prints(make_piece(2)).shape
    assert jaccard(prints(make_piece(1)).shingles, prints(make_piece(2)).shingles) == 0.0


def test_the_melody_is_what_is_heard_on_top():
    piece = line((0, 960, 72), (240, 480, 60), (480, 900, 64), (960, 1440, 74), (960, 1440, 50), (1500, 1600, 40))
    assert melody(sounding_performance(piece)).tolist() == [72, 74, 40]


def test_drums_alone_have_a_pattern():
    beats = rows([(240 * place, 240 * place + 60, (36, 42, 38, 42)[place % 4], 90) for place in range(32)], 4)
    drums = prints(Performance((Track(beats, drums=True),), 480))
    assert len(drums.shingles) == 4
    moved = np.array(beats)
    moved[:, 2] += 2
    assert prints(Performance((Track(rows(moved, 4), drums=True),), 480)).shape != drums.shape


def test_a_short_piece_has_a_shingle():
    assert len(shingles(sounding_performance(line((0, 480, 60))))) == 1


def test_a_tune_sounds_the_same_written_and_played(make_tune):
    from symusic import Score

    from rwkv_music_tokenizers.symusic_scores import from_symusic

    score = read_abc(make_tune(4))
    written = sounding_score(score)
    played = sounding_performance(from_symusic(Score.from_midi(write_midi(score))))
    assert written.starts.tolist() == played.starts.tolist() and written.pitches.tolist() == played.pitches.tolist()
    assert written.seconds == pytest.approx(played.seconds, rel=0.02)
    assert Fraction(int(written.ends[-1]), 24) == 24


def test_silence_is_the_longest_in_which_nothing_sounds():
    piece = line((0, 480, 60), (240, 2400, 64), (960, 1000, 67), (4800, 5280, 60))
    assert sounding_performance(piece).silence == pytest.approx(2.5)
    assert sounding_performance(line((9600, 10080, 60))).silence == pytest.approx(10.0)


def test_near_sets_share_a_band_and_far_ones_do_not():
    chance = np.random.default_rng(3)
    every = np.unique(chance.integers(0, 1 << 32, 1000).astype(np.uint32))[:900]
    near = np.sort(np.concatenate([every[:850], every[:40] + 1]))
    far = every + 2
    signed = bands([every, near, far])
    assert signed.shape == (3, BANDS) and jaccard(every, near) > 0.85
    assert (signed[0] == signed[1]).any() and not (signed[0] == signed[2]).any()
