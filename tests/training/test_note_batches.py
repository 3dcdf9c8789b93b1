"""Windows of MIDI pieces begin at bars and hold everything; sources and keys are drawn from nothing but seed and step."""

import numpy as np
import pytest

from rwkv_music_tokenizers.note_tokens import transposed
from rwkv_music_tokenizers.note_vocabulary import BAR, BOS, EOS, PAD
from rwkv_music_training.excerpts import excerpt, header_length
from rwkv_music_training.judging.tiles import BEGIN, DOCUMENT, END, Windows, source_quotas, tiles
from rwkv_music_training.note_batches import SHIFTS, NoteBatches
from rwkv_music_training.note_corpus import NoteCorpus, note_corpus


@pytest.fixture(scope="module")
def corpus(midi_folder, tmp_path_factory, notes_config) -> NoteCorpus:
    return note_corpus(midi_folder, "train", tmp_path_factory.mktemp("cache"), notes_config)


def rows(batches: NoteBatches, step: int) -> list[list[int]]:
    """The documents of a step, padding cut."""
    return [
        [*ids[counted].tolist(), int(targets[counted][-1])]
        for piece in batches.at(step)
        for ids, targets, counted in zip(piece.inputs, piece.targets, piece.counted, strict=True)
    ]


def epoch_windows(batches: NoteBatches, epoch: int = 0) -> np.ndarray:
    steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
    return np.concatenate([batches.members(step)[0] for step in steps])


def test_tiles_follow_each_other_and_fit():
    places = np.arange(10, 200, 7)
    for phase in (0.1, 0.5, 1.0):
        windows = tiles(places, 8, 205, 30, phase)
        assert windows[0][0] == 0 and windows[-1][1] == 205
        assert all(before[1] == after[0] for before, after in zip(windows, windows[1:], strict=False))
        assert all(end - max(begin, 8) <= 30 for begin, end in windows)
        assert all(begin in places for begin, _ in windows[1:])


def test_a_bar_longer_than_the_room_is_a_window_of_its_own():
    assert tiles(np.array([10, 20, 90]), 10, 100, 15) == [(0, 20), (20, 90), (90, 100)]
    assert tiles(np.array([10]), 10, 100, 15) == [(0, 100)]


def test_an_epoch_holds_every_id_of_every_piece_once(corpus, notes_config):
    windows = epoch_windows(NoteBatches(corpus, notes_config))
    for number in range(len(corpus)):
        mine = windows[windows[:, DOCUMENT] == number]
        mine = mine[np.argsort(mine[:, BEGIN])]
        assert mine[0, BEGIN] == 0
        assert mine[-1, END] == corpus.lengths[number]
        assert (mine[1:, BEGIN] == mine[:-1, END]).all()


def test_windows_begin_with_the_header_and_a_bar_and_only_the_last_of_a_piece_ends(corpus, notes_config):
    windows = Windows(corpus, notes_config.max_length)
    for number in range(len(corpus)):
        for window in windows.of(number, 0.6):
            ids = windows.ids(window)
            assert ids[0] == BOS and ids[header_length(ids)] == BAR
            assert len(ids) <= notes_config.max_length
            assert (ids[-1] == EOS) == (window[END] == corpus.lengths[number])
            assert np.array_equal(ids, excerpt(corpus.document(number), int(window[BEGIN]), int(window[END])))


def test_epochs_are_cut_and_mixed_anew(corpus, notes_config):
    batches = NoteBatches(corpus, notes_config)
    first, second = epoch_windows(batches), epoch_windows(batches, 1)
    assert {tuple(window) for window in first.tolist()} != {tuple(window) for window in second.tolist()}


def test_a_batch_of_notes_depends_on_seed_and_step_only(corpus, notes_config):
    walked = NoteBatches(corpus, notes_config)
    for step in range(9):
        walked.at(step)
    fresh = NoteBatches(corpus, notes_config)
    assert rows(walked, 9) == rows(fresh, 9)
    other = NoteBatches(corpus, notes_config.but(seed=2))
    assert any(rows(other, step) != rows(fresh, step) for step in range(3))


def test_windows_are_moved_to_all_keys_and_a_share_stays(corpus, notes_config):
    batches = NoteBatches(corpus, notes_config)
    windows = Windows(corpus, notes_config.max_length)
    kept, shifts, everything = 0, set(), 0
    for step in range(4 * batches.per_epoch):
        found = rows(batches, step)
        for window in batches.members(step)[0]:
            own = windows.ids(window)
            shift = next(shift for shift in (0, *SHIFTS) if transposed(own, shift).tolist() in found)
            everything += 1
            kept += shift == 0
            shifts.add(shift)
    assert kept / everything == pytest.approx(0.5, abs=0.12)
    assert shifts == {0, *SHIFTS}


def test_a_piece_that_would_leave_the_keyboard_keeps_its_key(corpus, notes_config):
    batches = NoteBatches(corpus, notes_config.but(untransposed=0.0))
    assert all(PAD not in row for step in range(batches.per_epoch) for row in rows(batches, step))


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_sources_are_read_by_the_power_of_their_tokens(corpus, notes_config, power):
    assert corpus.tokens.tolist() == [corpus.lengths[corpus.source == number].sum() for number in range(2)]
    quotas = source_quotas(corpus, power)
    assert quotas.sum() == pytest.approx(len(corpus.ids))
    assert quotas[0] / quotas[1] == pytest.approx((corpus.tokens[0] / corpus.tokens[1]) ** power)
    windows = epoch_windows(NoteBatches(corpus, notes_config.but(source_power=power)))
    lengths = windows[:, END] - windows[:, BEGIN]
    read = np.bincount(corpus.source[windows[:, DOCUMENT]], lengths, 2)
    assert read[0] / read[1] == pytest.approx(quotas[0] / quotas[1], rel=0.15)
