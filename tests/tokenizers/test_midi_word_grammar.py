"""Whatever is drawn from what may follow is a piece: keys come up in time, none is pressed twice, and it ends."""

import base64
import json
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.grammar import Ending, Grammar, Limits
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_word_grammar import MidiWordGrammar
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, MIDI, MIDI_PIANO, MidiWords
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.words_to_performance import words_to_performance

CASES = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "midi_encode.json").read_text())


def grammar(text: str, words: MidiWords = MIDI, **settings) -> MidiWordGrammar:
    made = MidiWordGrammar(words, **settings)
    for token in words.encode(text):
        made.follow(token)
    return made


def may_follow(text: str, words: MidiWords = MIDI, **settings) -> set[str]:
    return {words.words[token] for token in np.flatnonzero(grammar(text, words, **settings).allowed())}


WAITS = {f"t{units}" for units in range(1, 126)}


def test_a_piece_begins_with_a_wait_or_a_note():
    first = may_follow("<pad>")
    assert first >= WAITS | {"pi:3c:1", "pi:3c:b", "p:24:b", "pa:7f:1"}
    assert not first & {"<pad>", "<start>", "<end>", "pi:3c:0"}


def test_a_key_that_is_down_may_come_up_and_not_be_pressed():
    later = may_follow("pi:3c:7 t10")
    assert "pi:3c:0" in later
    assert not later & {f"pi:3c:{level:x}" for level in range(1, 12)}
    assert "pi:3d:7" in later and "g:3c:7" in later


def test_a_key_is_pressed_once_in_a_moment_and_released_in_another():
    assert not {word for word in may_follow("pi:3c:7") if word.startswith("pi:3c:")}
    assert "pi:3c:5" in may_follow("pi:3c:7 t10 pi:3c:0")
    assert not {word for word in may_follow("pi:3c:7 t10 pi:3c:0 pi:3c:5") if word.startswith("pi:3c:")}


def test_drums_are_released_like_keys():
    assert "p:24:0" in may_follow("p:24:b t10")
    assert "p:24:b" not in may_follow("p:24:b t10")


def test_the_end_may_come_when_no_key_is_down():
    assert {"<pad>", "<end>"} <= may_follow("<pad> pi:3c:7 t10 pi:3c:0")
    assert not {"<pad>", "<end>"} & may_follow("<pad> pi:3c:7 t10")
    assert not {"<pad>", "<end>"} & may_follow("<pad> pi:3c:7 t10 pi:3c:0", ending=Ending.NEVER)
    # The piano's models end with <end>, and were never shown <pad>.
    ends = may_follow("<start> p:3c:7 t10 p:3c:0", MIDI_PIANO) & {"<pad>", "<start>", "<end>"}
    assert ends == {"<end>"}


def test_what_must_end_only_releases_and_waits():
    assert may_follow("pi:3c:7 p:24:b t10 g:3c:5", ending=Ending.MUST) == WAITS | {"pi:3c:0", "p:24:0"}
    assert may_follow("pi:3c:7 t10 pi:3c:0", ending=Ending.MUST) == {"<pad>", "<end>"}
    assert may_follow("", ending=Ending.MUST) == {"<pad>", "<end>"}


def test_a_key_that_was_down_for_long_has_to_come_up():
    # Another wait could make it longer than 8 s.
    assert "pi:40:7" in may_follow("pi:3c:7" + 7 * " t125")
    assert may_follow("pi:3c:7 t10 pi:40:7" + 7 * " t125") == {"pi:3c:0"}
    assert may_follow("pi:3c:7 pi:40:7" + 7 * " t125" + " t1", ending=Ending.MUST) == {"pi:3c:0", "pi:40:0"}
    assert may_follow("pi:3c:7" + 9 * " t125", longest=10_000) == {"pi:3c:0"} | may_follow("pi:3c:7 t125")
    with pytest.raises(ValueError, match="at least 2000 ms, not 1999"):
        MidiWordGrammar(MIDI, longest=1999)


def test_after_ten_seconds_of_silence_a_note_has_to_come():
    silent = "pi:3c:7 t10 pi:3c:0" + 10 * " t125"
    assert not WAITS & may_follow(silent)
    assert "pi:3c:5" in may_follow(silent)
    assert may_follow(silent + " pi:3c:5") >= WAITS


def test_a_separator_is_the_end_unless_it_comes_first():
    assert not grammar("<pad>").ended
    assert not grammar("<start>", MIDI_PIANO).ended
    assert grammar("<pad> pi:3c:7 <pad>").ended
    assert grammar("<pad> pi:3c:7 t10 pi:3c:0 <end>").ended
    assert not grammar("<pad> pi:3c:7 <pad> t10").ended
    # All keys are up after it.
    assert "pi:3c:7" in may_follow("<pad> pi:3c:7 <pad> t10")
    empty = MidiWordGrammar(MIDI, ending=Ending.MUST)
    empty.follow(0)
    assert empty.ended


def test_pitches_and_scales_are_kept_to():
    low = may_follow("pi:30:7 t10", limits=Limits(lowest=60, highest=72, classes=frozenset({0, 4, 7})))
    pressed = {word.split(":")[1] for word in low if word.startswith("pi") and not word.endswith(":0")}
    assert pressed == {"3c", "40", "43", "48"}
    # What is down comes up, and drums have no pitch.
    assert {"pi:30:0", "p:24:7"} <= low


def test_instruments_are_kept_to():
    def playing(limits: Limits) -> set[str]:
        return {word.split(":")[0] for word in may_follow("", limits=limits) if ":" in word}

    assert playing(Limits(programs=frozenset({5, 17}), drums=False)) == {"pi"}
    assert playing(Limits(programs=frozenset({40, 73}))) == {"p", "v", "f"}
    assert playing(Limits(drums=False)) == {row.short for row in MIDI.instruments} - {"p"}


def test_limits_that_leave_nothing_are_refused():
    limits = Limits(programs=frozenset({125}), drums=False)
    with pytest.raises(ValueError, match="these limits leave nothing to play"):
        MidiWordGrammar(MIDI, limits)


def test_polyphony_is_kept_to_in_each_instrument():
    two = Limits(polyphony=2)
    full = may_follow("pi:3c:7 pi:40:7 t10 g:3c:7", limits=two)
    assert {word for word in full if word.startswith("pi")} == {"pi:3c:0", "pi:40:0"}
    assert "g:40:7" in full
    again = may_follow("pi:3c:7 pi:40:7 t10 pi:3c:0", limits=two)
    assert {"pi:3c:7", "pi:3d:7"} <= again
    assert "pi:40:7" not in again
    # A prompt with more than that is waited for.
    assert "pi:43:7" not in may_follow("pi:3c:7 pi:3e:7 pi:40:7 t10 pi:3c:0", limits=two)
    assert "pi:43:7" in may_follow("pi:3c:7 pi:3e:7 pi:40:7 <pad>", limits=two)


def test_two_seconds_are_a_bar():
    piece = MidiWordGrammar(MIDI)
    places = []
    for word in MIDI.encode("pi:3c:7 t125 t100 t30 pi:3c:0 t125 t125 pi:3c:7"):
        piece.follow(word)
        places.append(piece.at_bar)
    # After 255 units, and after 250 more.
    assert places == [False, False, False, True, False, False, True, False]
    assert piece.bars == Fraction(505, 250)
    assert piece.quarters == Fraction(4 * 505, 250)


def test_a_clone_goes_its_own_way():
    piece: Grammar = grammar("pi:3c:7 t10")
    before = piece.allowed()
    twin = piece.clone()
    for token in MIDI.encode("pi:3c:0 pi:3c:8 g:3c:7 t100"):
        twin.follow(token)
    assert (piece.allowed() == before).all()
    assert (twin.allowed() != before).any()


def sound(ids: list[int], words: MidiWords, longest: int) -> None:
    """Every key comes up in time after it was pressed, and is pressed only when it is up, once in a moment."""
    time, down, pressed = 0, {}, set()
    for number in ids:
        if number < FIRST_NOTE:
            time += 8 * (number - 2) if number > 2 else 0
            pressed = set() if number > 2 else pressed
            continue
        key = words.note(number)[:2]
        if words.note(number).level:
            assert key not in down and key not in pressed
            down[key] = time
            pressed.add(key)
        else:
            assert 0 < time - down.pop(key) <= longest
    assert not down


WALKS = {
    "midi": (MIDI, Limits()),
    "piano": (MIDI_PIANO, Limits()),
    "limited": (MIDI, Limits(60, 64, frozenset({0, 2, 4}), frozenset({0, 40}), drums=True, polyphony=1)),
    "one key": (MIDI_PIANO, Limits(60, 60, polyphony=3)),
}


@pytest.mark.parametrize("name", WALKS)
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), length=st.integers(0, 150), notes=st.sampled_from([0.05, 0.5, 0.95]))
def test_random_walks_end_as_pieces(name, seed, length, notes):
    words, limits = WALKS[name]
    draw = random.Random(seed)
    piece = MidiWordGrammar(words, limits, ending=Ending.NEVER)
    piece.follow(words.bos)
    ids: list[int] = []
    while not piece.ended:
        if len(ids) == length:
            piece.ending = Ending.MUST
        allowed = np.flatnonzero(piece.allowed())
        split = int(np.searchsorted(allowed, FIRST_NOTE))
        # As often a wait as a note, whatever their number.
        choice = allowed[split:] if split == 0 or (split < len(allowed) and draw.random() < notes) else allowed[:split]
        ids.append(int(choice[draw.randrange(len(choice))]))
        piece.follow(ids[-1])
        assert len(ids) < length + 3000
    sound(ids, words, 8000)
    assert words_to_performance(ids, words).count == sum(
        words.note(number).level > 0 for number in ids if number >= FIRST_NOTE
    )


@settings(deadline=None)
@given(ids=st.lists(st.sampled_from([0, 1, 2, 3, 127, 13143, 13136, 848, 850]) | st.integers(0, 20095), max_size=60))
def test_whatever_a_prompt_is_the_piece_can_end(ids):
    piece = MidiWordGrammar(MIDI, Limits(polyphony=2))
    for number in ids:
        piece.follow(number)
        assert piece.allowed().any()
    piece.ending = Ending.MUST
    for _ in range(200):
        if piece.ended:
            break
        piece.follow(int(np.flatnonzero(piece.allowed())[-1]))
    assert piece.ended


def pressable(ids: list[int], limits: Limits) -> np.ndarray:
    """The keys that may be pressed after a prompt, from the rules alone: instrument by pitch, bool."""
    down, settled = set(), set()
    for number in ids:
        if number in (0, 2):
            down, settled = set(), set()
        elif 2 < number < FIRST_NOTE:
            settled = set()
        elif number >= FIRST_NOTE:
            instrument, pitch, level = MIDI.note(number)
            down.discard((instrument, pitch))
            if level:
                down.add((instrument, pitch))
                settled.add((instrument, pitch))
    keys = np.zeros((13, 128), bool)
    keys[0] = True
    keys[1:, limits.lowest : limits.highest + 1] = True
    for instrument in range(13):
        keys[instrument] &= sum(row == instrument for row, _ in down) < limits.polyphony
    for instrument, pitch in down | settled:
        keys[instrument, pitch] = False
    return keys


@settings(deadline=None)
@given(ids=st.lists(st.sampled_from([0, 1, 2, 3, 60]) | st.integers(12928, 13000) | st.integers(848, 900), max_size=40))
def test_what_is_kept_step_by_step_is_what_the_rules_say(ids):
    limits = Limits(40, 70, polyphony=2)
    piece = MidiWordGrammar(MIDI, limits, longest=10**6)
    for number in ids:
        piece.follow(number)
    by_level = piece.allowed()[FIRST_NOTE:].reshape(13, 128, 12)
    expected = pressable(ids, limits)
    assert all((by_level[:, :, level] == expected).all() for level in range(1, 12))


@pytest.mark.parametrize("words", [MIDI, MIDI_PIANO], ids=lambda words: words.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_a_model_is_trained_on_may_be_drawn(case, words):
    ids = performance_to_words(read_midi(base64.b64decode(case["midi"])), words)
    piece = MidiWordGrammar(words, longest=60_000)
    for number in [words.bos, *ids, words.eos] if ids else []:
        # Of the cases one has silence of more than ten seconds.
        if case["name"] != "long_silences" and number != words.bos:
            assert piece.allowed()[number], words.words[number]
        piece.follow(number)
    assert piece.ended is bool(ids)
