"""Batches hold every tune once an epoch, in changing keys, and depend on nothing but seed and step."""

import numpy as np
import pytest
import torch

from rwkv_music_tokenizers.transpose import singable_shifts, transpose_abc
from rwkv_music_training.batches import TuneBatches, by_length, even_pieces, pad
from rwkv_music_training.corpus.tunes import BEGIN, END, document


def marked(text: str, semitones: int) -> str:
    """A transposition that can be seen."""
    return f"{semitones:+d}{text}"


def all_keys(text: str) -> list[int]:
    return [-2, 0, 3]


def rows(batches: TuneBatches, step: int) -> list[bytes]:
    """The documents of a step as bytes, padding cut."""
    return sorted(
        bytes(ids[counted].tolist())
        for piece in batches.at(step)
        for ids, counted in zip(piece.inputs, piece.counted, strict=True)
    )


def test_every_tune_is_in_an_epoch_once(tunes, tiny):
    batches = TuneBatches(tunes, tiny, marked, all_keys)
    assert batches.per_epoch > 3
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        members = np.concatenate([batches.members(step) for step in steps])
        assert sorted(members) == list(range(len(tunes)))


def test_two_epochs_mix_the_tunes_differently(tunes, tiny):
    batches = TuneBatches(tunes, tiny, marked, all_keys)
    first = [set(batches.members(step)) for step in range(batches.per_epoch)]
    second = [set(batches.members(step + batches.per_epoch)) for step in range(batches.per_epoch)]
    assert first != second


def test_a_batch_depends_on_seed_and_step_only(tunes, tiny):
    walked = TuneBatches(tunes, tiny, marked, all_keys)
    for step in range(9):
        walked.at(step)
    fresh = TuneBatches(tunes, tiny, marked, all_keys)
    assert rows(walked, 9) == rows(fresh, 9)
    other = TuneBatches(tunes, tiny.but(seed=2), marked, all_keys)
    assert any(rows(other, step) != rows(fresh, step) for step in range(3))


def test_fewer_tunes_than_batches_leave_no_batch_empty(tunes, tiny):
    batches = TuneBatches(tunes, tiny.but(tokens_per_batch=200), marked, all_keys)
    assert all(len(batches.members(step)) for step in range(batches.per_epoch))


def test_padding_is_not_counted(tunes):
    long, short = document(tunes[7].text), document(tunes[0].text)
    batch = pad([short, long])
    assert batch.tokens == len(long) - 1 + len(short) - 1
    assert batch.inputs.shape[1] % 16 == 0
    assert not batch.counted[0, len(short) - 1 :].any()
    assert batch.inputs[0, 0] == BEGIN and batch.targets[0, len(short) - 2] == END
    assert torch.equal(batch.inputs[:, 1:][batch.counted[:, 1:]], batch.targets[:, :-1][batch.counted[:, 1:]])


def test_a_share_of_the_tunes_keeps_its_key(tunes, tiny):
    batches = TuneBatches(tunes, tiny.but(untransposed=0.5), marked, all_keys)
    texts = [row for step in range(20 * batches.per_epoch) for row in rows(batches, step)]
    moved = [text[1:3] for text in texts if text[1:2] in b"+-"]
    assert len(moved) / len(texts) == pytest.approx(0.5, abs=0.06)
    assert set(moved) == {b"-2", b"+3"}
    assert moved.count(b"+3") / len(moved) == pytest.approx(0.5, abs=0.09)


def test_transposed_tunes_are_the_transposed_text(tunes, tiny):
    batches = TuneBatches(tunes, tiny.but(untransposed=0.0), transpose_abc, singable_shifts)
    expected = {transpose_abc(tune.text, shift) for tune in tunes for shift in singable_shifts(tune.text) if shift}
    for step in range(batches.per_epoch):
        assert all(row[1:].decode() in expected for row in rows(batches, step))


def test_a_tune_without_another_key_stays_as_it_is(tunes, tiny):
    batches = TuneBatches(tunes, tiny.but(untransposed=0.0), marked, lambda text: [0])
    own = {tune.text for tune in tunes}
    assert all(row[1:].decode() in own for row in rows(batches, 0))


def test_a_long_tune_is_cut_and_has_no_end(tunes, tiny):
    batches = TuneBatches(tunes, tiny.but(max_length=50), marked, lambda text: [0])
    for step in range(batches.per_epoch):
        for piece in batches.at(step):
            assert piece.counted.sum(dim=1).max() <= 49
            long = piece.counted.sum(dim=1) == 49
            assert not (piece.targets[long] == END).any()


def test_even_pieces_keep_every_document_in_its_order():
    documents = [np.zeros(length) for length in (3, 5, 9, 2, 40)]
    pieces = even_pieces(documents, 3)
    assert [len(ids) for piece in pieces for ids in piece] == [3, 5, 9, 2, 40]
    assert 1 <= len(pieces) <= 3


def test_groups_by_length_fit_and_hold_everything():
    lengths = [5, 100, 7, 30, 6, 30]
    groups = by_length(lengths, 60)
    assert sorted(index for group in groups for index in group) == list(range(6))
    assert all(len(group) == 1 or len(group) * max(lengths[index] for index in group) <= 60 for group in groups)
