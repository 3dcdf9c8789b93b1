"""What is read anew is a document that the tokenizer itself would write: in another key, tempo, loudness, else the same."""

from itertools import permutations

import numpy as np
import pytest

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer, training_text
from rwkv_music_tokenizers.midi_words import MIDI, MIDI_PIANO
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.tonal import exchange_notes, move_along_scale, moves_along_scale
from rwkv_music_tokenizers.transpose import singable_shifts, transpose_abc
from rwkv_music_tokenizers.words_to_performance import words_to_performance
from rwkv_music_training.corpus.augment import Augmentation, augmenting
from rwkv_music_training.corpus.codes import find_code
from rwkv_music_training.corpus.fingerprints import fingerprints
from rwkv_music_training.corpus.sounding import sounding_performance

NOTES = NoteTokenizer()
ALWAYS = Augmentation(transposed=1.0, retimed=1.0, reloud=1.0)
NEVER = Augmentation(transposed=0.0, retimed=0.0, reloud=0.0)


def draw(number: int) -> np.random.Generator:
    return np.random.default_rng([1, 2, number])


@pytest.fixture(scope="module")
def band(make_piece) -> Performance:
    """Two parts that change their loudness, drums, a change of tempo."""
    tracks = list(make_piece(3).tracks)
    loud = np.array(tracks[0].notes)
    loud[20:, 3] = 40
    beats = Track(rows([(480 * place, 480 * place + 60, 36 + place % 3, 66) for place in range(24)], 4), drums=True)
    return Performance((Track(rows(loud, 4)), tracks[1], beats), 480, tempos=rows([(0, 500_000), (4800, 600_000)], 2))


@pytest.mark.parametrize("clock", ["grid", "perf"])
def test_notes_read_anew_are_written_as_the_tokenizer_writes_them(band, clock):
    ids = NOTES.encode(band, NoteOptions(clock=clock)).astype(np.int64)
    read = augmenting(find_code("notes"), ALWAYS)
    found = [read(ids, draw(number)) for number in range(12)]
    for again in found:
        assert np.array_equal(NOTES.encode(NOTES.decode(again), NoteOptions(clock=clock)), again)
    assert len({again.tobytes() for again in found}) == 12


def test_notes_are_the_same_music_in_another_key_tempo_and_loudness(band):
    ids = NOTES.encode(band).astype(np.int64)
    (before, *_), drums = NOTES.decode(ids).tracks, NOTES.decode(ids).tracks[2]
    read = augmenting(find_code("notes"), ALWAYS)
    for number in range(8):
        after = NOTES.decode(read(ids, draw(number)))
        moved = after.tracks[0].notes - before.notes
        assert (moved[:, :2] == 0).all() and len(set(moved[:, 2].tolist())) == 1 and moved[0, 2] in range(-6, 6)
        assert moved[0, 2] and len(set(moved[:, 3].tolist())) == 1 and abs(moved[0, 3]) in (8, 16)
        assert np.array_equal(after.tracks[2].notes[:, :3], drums.notes[:, :3])
        slower = after.tempos[:, 1] / NOTES.decode(ids).tempos[:, 1]
        assert (slower != 1).all() and np.ptp(slower) < 0.05 and 0.8 < slower[0] < 1.25


def test_a_document_as_performed_takes_another_time(band):
    ids = NOTES.encode(band, NoteOptions(clock="perf")).astype(np.int64)
    read = augmenting(find_code("notes"), Augmentation(transposed=0.0, retimed=1.0, reloud=0.0))
    lasts = {NOTES.decode(read(ids, draw(number))).end for number in range(12)}
    assert len(lasts) > 3 and all(0.8 < last / NOTES.decode(ids).end < 1.25 for last in lasts)


@pytest.mark.parametrize("words", [MIDI, MIDI_PIANO], ids=lambda words: words.name)
def test_words_are_the_same_music_in_another_key_and_loudness(band, words):
    ids = np.array([words.bos, *performance_to_words(band, words), words.eos])
    read = augmenting(find_code(words.name), Augmentation(transposed=1.0, retimed=0.0, reloud=1.0))
    before = words_to_performance(ids[1:-1].tolist(), words)
    for number in range(8):
        again = read(ids, draw(number))
        after = words_to_performance(again[1:-1].tolist(), words)
        moved = {track.name: after.tracks[place].notes - track.notes for place, track in enumerate(before.tracks)}
        assert len({tuple(np.unique(move[:, 2])) for name, move in moved.items() if name != "percussion"}) == 1
        assert all((move[:, :2] == 0).all() and len(set(move[:, 3] > 0)) == 1 for move in moved.values())
        assert again[0] == words.bos and again[-1] == words.eos and not np.array_equal(again, ids)
        if "percussion" in moved:
            assert (moved["percussion"][:, 2] == 0).all()


def test_words_at_another_tempo_are_as_the_tokenizer_writes_them(band):
    ids = np.array([MIDI.bos, *performance_to_words(band, MIDI), MIDI.eos])
    read = augmenting(find_code("midi"), Augmentation(transposed=0.0, retimed=1.0, reloud=0.0))
    for number in range(4):
        again = read(ids, draw(number))
        assert not np.array_equal(again, ids)
        played = words_to_performance(again[1:-1].tolist(), MIDI)
        assert performance_to_words(played, MIDI) == again[1:-1].tolist()


def test_abc_moves_as_text_to_keys_that_are_simple(make_tune):
    code = AbcTokenizer()
    text = training_text(make_tune(2))
    ids = np.array(code.document(text))
    read = augmenting(find_code("abc"), ALWAYS)
    found = {code.decode(read(ids, draw(number)).tolist()) for number in range(40)}
    assert found == {transpose_abc(text, shift) for shift in singable_shifts(text) if shift}


def test_abc_moves_along_its_scale_and_then_to_another_key(make_tune):
    code = AbcTokenizer()
    text = training_text(make_tune(2))
    read = augmenting(find_code("abc"), Augmentation(transposed=0.0, tonal=1.0))
    found = {code.decode(read(np.array(code.document(text)), draw(number)).tolist()) for number in range(30)}
    assert found == {move_along_scale(text, steps) for steps in moves_along_scale(text)} and found
    both = augmenting(find_code("abc"), Augmentation(transposed=1.0, tonal=1.0))
    far = {code.decode(both(np.array(code.document(text)), draw(number)).tolist()) for number in range(30)}
    assert len(far) > len(found) and not far & (found | {text})
    chords = code.document('M:4/4\nL:1/4\nK:C\n"C"CEGc|\n')
    assert np.array_equal(read(np.array(chords), draw(1)), chords)


def test_abc_whose_notes_are_exchanged_is_one_that_was_not_moved_along_its_scale(make_tune):
    code = AbcTokenizer()
    text = training_text(make_tune(2))
    ids = np.array(code.document(text))

    def read(tonal: float, exchanged: float) -> set[str]:
        reading = augmenting(find_code("abc"), Augmentation(transposed=0.0, tonal=tonal, exchanged=exchanged))
        return {code.decode(reading(ids, draw(number)).tolist()) for number in range(30)}

    found, orders = read(0.0, 1.0), list(permutations(range(7)))[1:]
    assert len(found) > 20 and found <= {exchange_notes(text, order) for order in orders}
    assert read(1.0, 1.0) == read(1.0, 0.0)


def test_abc_read_twice_in_a_row_is_the_same_document_in_the_same_key(make_tune):
    code = AbcTokenizer()
    ids = np.array(code.document(training_text(make_tune(2))))

    def read(repeated: float, number: int) -> np.ndarray:
        return augmenting(find_code("abc"), Augmentation(transposed=0.8, repeated=repeated))(ids, draw(number))

    for number in range(12):
        assert np.array_equal(read(1.0, number), np.tile(read(0.0, number), 2))
    assert {len(read(0.5, number)) // len(read(0.0, number)) for number in range(12)} == {1, 2}


def test_abc_whose_lines_come_back_is_the_same_tune_with_more_lines(make_tune):
    code = AbcTokenizer()
    text = training_text(make_tune(2)).replace("|", "|\n", 4)
    ids = np.array(code.document(text))

    def read(restated: float, number: int) -> str:
        reading = augmenting(find_code("abc"), Augmentation(transposed=0.0, restated=restated))
        return code.decode(reading(ids, draw(number)).tolist())

    found = {read(1.0, number) for number in range(30)}
    assert len(found) > 5 and all(set(tune.splitlines()) == set(text.splitlines()) for tune in found)
    assert all(len(tune) > len(text) for tune in found) and read(0.0, 3) == text


def test_a_reading_is_a_pure_function_of_the_generator_and_may_change_nothing(band, corpus):
    ids = NOTES.encode(band).astype(np.int64)
    read = augmenting(find_code("notes"), ALWAYS)
    assert np.array_equal(read(ids, draw(5)), read(ids.copy(), draw(5)))
    assert np.array_equal(augmenting(find_code("notes"), NEVER)(ids, draw(5)), ids)
    train = corpus.split("train", NEVER)
    assert np.array_equal(train.read(3, draw(1)), train.read(3)) and train.read(3, draw(1)).dtype == np.int64


def test_a_piece_read_anew_has_the_same_shape(make_piece):
    ids = NOTES.encode(make_piece(1)).astype(np.int64)
    shapes = {
        fingerprints(b"", sounding_performance(NOTES.decode(one))).shape
        for one in (ids, *(augmenting(find_code("notes"), ALWAYS)(ids, draw(number)) for number in range(5)))
    }
    assert len(shapes) == 1
