"""What becomes of a file by itself, in every code and from every form."""

import numpy as np
import pytest

from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer, training_text
from rwkv_music_tokenizers.midi_words import MIDI_PIANO
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.filters import Filters
from rwkv_music_training.corpus.items import ABC, MIDI, MUSICXML, Item, LeftOut
from rwkv_music_training.corpus.preparing import Preparation, Prepared, prepare


def item(content: bytes | str, form: str = MIDI, place: int = 0) -> Item:
    return Item((0, place), str(place), form, content if isinstance(content, bytes) else content.encode())


def one(content: bytes | str, form: str = MIDI, **how) -> Prepared | LeftOut:
    (outcome,) = prepare([item(content, form)], Preparation(**how))
    return outcome


def ids_of(outcome: Prepared | LeftOut) -> list[int]:
    assert isinstance(outcome, Prepared), outcome
    return outcome.ids.tolist()


def reason_of(outcome: Prepared | LeftOut) -> str:
    assert isinstance(outcome, LeftOut)
    return outcome.reason


def line(count: int, step: int = 240, first: int = 0) -> Performance:
    notes = [(first + step * place, first + step * place + 200, 60 + 5 * place % 12, 80) for place in range(count)]
    return Performance((Track(rows(notes, 4)),), 480)


def test_many_are_prepared_as_each_by_itself(make_piece, make_tune):
    files = [item(write_performance(make_piece(number)), MIDI, number) for number in range(4)]
    files += [item(b"noise", MIDI, 4), item(make_tune(1), ABC, 5)]
    together = prepare(files, Preparation())
    assert [type(outcome) for outcome in together] == [Prepared] * 4 + [LeftOut, Prepared]
    for file, outcome in zip(files, together, strict=True):
        (alone,) = prepare([file], Preparation())
        if isinstance(outcome, Prepared) and isinstance(alone, Prepared):
            assert np.array_equal(outcome.ids, alone.ids) and np.array_equal(outcome.bands, alone.bands)
            assert outcome.item.name == file.name and not outcome.item.content


def test_abc_is_played_for_notes_and_read_as_text_for_abc(make_tune):
    text = make_tune(1)
    assert NoteTokenizer().decode(ids_of(one(text, ABC))).count == 48
    assert ids_of(one(text, ABC, code="abc")) == AbcTokenizer().document(training_text(text))


def test_midi_of_one_part_is_written_down_for_abc(make_tune):
    from rwkv_music_tokenizers.midi_writer import write_midi

    played = write_midi(read_abc(make_tune(1)), accompaniment=False)
    text = AbcTokenizer().decode(ids_of(one(played, code="abc")))
    assert "M:6/8" in text and "K:" in text
    assert len(read_abc(text).parts[0].bars) == 8


def test_midi_of_several_parts_is_no_abc(make_piece):
    assert reason_of(one(write_performance(make_piece(1)), code="abc")) == items.SEVERAL_PARTS


def test_words_take_what_they_can_say(make_piece):
    piano = Performance((make_piece(1).tracks[0],), 480)
    found = one(write_performance(piano), code="midipiano")
    assert ids_of(found) == [MIDI_PIANO.bos, *performance_to_words(piano, MIDI_PIANO), MIDI_PIANO.eos]
    strings = Performance((Track(piano.tracks[0].notes, 48),), 480)
    assert reason_of(one(write_performance(strings), code="midipiano")) == items.NOT_IN_CODE


def test_musicxml_is_read(make_tune):
    from rwkv_music.render.sheet import musicxml

    xml = musicxml(read_abc(make_tune(2)))
    assert NoteTokenizer().decode(ids_of(one(xml, MUSICXML))).count == 48
    assert "M:6/8" in AbcTokenizer().decode(ids_of(one(xml, MUSICXML, code="abc")))
    assert reason_of(one(b"<html/>", MUSICXML)) == items.NOT_READABLE


@pytest.mark.parametrize(
    "performance, bounds, reason",
    [
        (line(15), {}, items.TOO_SHORT),
        (line(16), {}, ""),
        (line(40), {"longest": 9.0}, items.TOO_LONG),
        (line(40), {"most_ids": 100}, items.TOO_LONG),
        (line(200, step=2), {}, items.TOO_DENSE),
        (line(20, step=15_000), {"silence": 0.0}, items.TOO_THIN),
        (line(20, first=40_000), {}, items.SILENT),
        (line(20, first=40_000), {"silence": 0.0}, ""),
    ],
)
def test_music_out_of_bounds_is_left_out(performance, bounds, reason):
    outcome = one(write_performance(performance), filters=Filters(**bounds))
    assert (outcome.reason if isinstance(outcome, LeftOut) else "") == reason


def test_bars_must_add_up(make_tune):
    broken = make_tune(1).replace("|", "A|", 1)
    assert reason_of(one(broken, ABC, filters=Filters(wrong_bars=0.1))) == items.WRONG_BARS
    assert isinstance(one(broken, ABC, filters=Filters(wrong_bars=0.2)), Prepared)


def test_a_piece_longer_than_a_document_costs_no_other():
    far = Performance((Track(rows([(place << 23, (place << 23) + 1, 60, 80) for place in range(20)], 4)),), 1)
    loose = Filters(longest=0.0, silence=0.0, thinnest=0.0)
    outcomes = prepare(
        [item(write_performance(far)), item(write_performance(line(20)), MIDI, 1)], Preparation(filters=loose)
    )
    assert reason_of(outcomes[0]) == items.TOO_LONG and isinstance(outcomes[1], Prepared)
