"""Whatever is drawn from what may follow in REMI ends, and is what MidiTok writes: no note over a note, true chords."""

import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Grammar, Limits
from rwkv_music_tokenizers.remi_grammar import RemiGrammar
from rwkv_music_tokenizers.remi_vocabulary import EOS, WORDS, remi_ids

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "tokens" / "remi.json").read_text())
NOTE = "Velocity_79 Duration_1.0.8 "
BEGUN = "Bar_None Position_0 Program_0 Pitch_60 " + NOTE
C_MAJOR = frozenset({0, 2, 4, 5, 7, 9, 11})


def after(text: str, limits: Limits = NO_LIMITS, ending: Ending = Ending.MAY) -> RemiGrammar:
    grammar = RemiGrammar(remi_ids(text), limits)
    grammar.ending = ending
    return grammar


def words(grammar: Grammar) -> set[str]:
    """What may follow."""
    return {WORDS[token] for token in np.flatnonzero(grammar.allowed())}


def kinds(grammar: Grammar) -> set[str]:
    return {word.split("_")[0] for word in words(grammar)}


def walk(seed: int, limits: Limits = NO_LIMITS, before: str = "", tokens: int = 200) -> list[int]:
    """A piece drawn from what may follow, a kind of word first, and brought to its end after so many tokens."""
    draw = random.Random(seed)
    grammar = after(before, limits, Ending.NEVER)
    made: list[int] = []
    while not grammar.ended:
        if len(made) >= tokens:
            grammar.ending = Ending.MUST
        allowed = np.flatnonzero(grammar.allowed()).tolist()
        kind = draw.choice(sorted({WORDS[token].split("_")[0] for token in allowed}))
        made.append(draw.choice([token for token in allowed if WORDS[token].startswith(kind + "_")]))
        grammar.follow(made[-1])
        assert len(made) < tokens + 300, "the piece does not end"
    assert made.pop() == EOS
    return made


def said(ids: list[int]) -> tuple[list[tuple[int, int, int]], Counter]:
    """Notes (time in positions, program, pitch) and chords (time, program, name), read word by word."""
    notes, chords = [], Counter()
    bar, time, program = -32, 0, 0
    for word in map(WORDS.__getitem__, ids):
        kind, value = word.split("_")
        if kind == "Bar":
            bar += 32
        elif kind == "Position":
            time = bar + int(value)
        elif kind == "Program":
            program = int(value)
        elif kind in ("Pitch", "PitchDrum"):
            notes.append((time, program, int(value)))
        elif kind == "Chord":
            chords[time, program, value] += 1
    return notes, chords


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_what_miditok_writes_may_be_written(case):
    grammar = RemiGrammar()
    for token in case["ids"]:
        assert grammar.allowed()[token], WORDS[token]
        grammar.follow(token)
    assert grammar.allowed()[EOS]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    limits=st.builds(
        Limits,
        lowest=st.integers(0, 60),
        highest=st.integers(72, 127),
        classes=st.sampled_from([frozenset(), C_MAJOR, frozenset({0})]),
        programs=st.sampled_from([frozenset(), frozenset({0, 40, 73})]),
        drums=st.booleans(),
        polyphony=st.integers(0, 4),
    ),
)
def test_any_walk_is_a_piece_that_keeps_its_notes_and_chords(seed, limits):
    pytest.importorskip("miditok", reason="pip install 'rwkv-music[miditok]'")
    from rwkv_music_tokenizers.grid_tokens import runner_remi

    ids = walk(seed, limits)
    remi = runner_remi()
    played = remi.decode(ids)
    notes, chords = said(ids)
    assert played.count == len(notes)
    for track in played.tracks:
        assert track.drums or not limits.programs or track.program in limits.programs
        assert limits.drums or not track.drums
        for pitch in set(track.notes[:, 2].tolist()):
            assert track.drums or pitch in limits.pitches
            own = track.notes[track.notes[:, 2] == pitch]
            assert (own[1:, 0] >= own[:-1, 1]).all()
        for start in track.notes[:, 0] if limits.polyphony else ():
            sounding = (track.notes[:, 0] <= start) & (track.notes[:, 1] > start)
            assert sounding.sum() <= limits.polyphony
    assert sum(not track.drums for track in played.tracks) <= 15
    again = remi.encode(played)
    heard, heard_chords = said(again)
    assert sorted(heard) == sorted(notes)
    assert not chords - heard_chords, "a chord that MidiTok does not hear"
    assert all((a.notes == b.notes).all() for a, b in zip(played.tracks, remi.decode(again).tracks, strict=True))


def test_walks_have_chords_and_drums():
    # What the property above is about does occur.
    made = [WORDS[token].split("_")[0] for seed in range(5) for token in walk(seed)]
    assert {"Chord", "PitchDrum", "Pitch", "Program", "Bar"} <= set(made)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 426), max_size=40), st.integers(0, 2**32), st.sampled_from([0, 1]))
def test_whatever_a_prompt_is_music_follows_and_ends(prompt, seed, polyphony):
    prompt = [token for token in prompt if token != EOS]
    walk(seed, Limits(polyphony=polyphony), " ".join(WORDS[token] for token in prompt), 40)


def test_a_piece_begins_with_a_bar_a_position_and_a_program():
    assert words(after("")) == words(after("BOS_None")) == {"Bar_None"}
    assert kinds(after("Bar_None")) == {"Bar", "Position"}
    assert kinds(after("Bar_None Position_0")) == {"Program"}
    assert kinds(after("Bar_None Position_0 Program_0")) == {"Pitch", "Chord"}
    assert kinds(after("Bar_None Position_0 Program_-1")) == {"PitchDrum"}
    assert kinds(after("Bar_None Position_0 Program_0 Pitch_60")) == {"Velocity"}
    assert kinds(after("Bar_None Position_0 Program_0 Pitch_60 Velocity_79")) == {"Duration"}


def test_positions_rise_in_a_bar():
    found = words(after("Bar_None Position_8 Program_0 Pitch_60 " + NOTE))
    assert "Position_9" in found and not {"Position_8", "Position_0"} & found
    last = words(after("Bar_None Position_31 Program_0 Pitch_60 " + NOTE))
    assert "Bar_None" in last and not any(word.startswith("Position") for word in last)


def test_a_program_is_named_where_it_changes_and_once_at_a_position():
    assert "Program_0" not in words(after(BEGUN))
    two = BEGUN + "Program_40 Pitch_60 " + NOTE
    assert not {"Program_0", "Program_40"} & words(after(two))
    later = words(after(two + "Position_1"))
    assert {"Pitch_62", "Program_0"} <= later and "Program_40" not in later


def test_programs_keep_their_order():
    # The piano comes before the violin, the violin before the flute.
    text = BEGUN + "Program_40 Pitch_60 " + NOTE + "Position_8 Pitch_60 " + NOTE + "Program_73 Pitch_60 " + NOTE
    flute = words(after(text + "Position_16 Pitch_60 " + NOTE))
    assert not {"Program_0", "Program_40"} & flute and "Program_41" in flute
    assert {"Program_40", "Program_73"} <= words(after(text + "Position_16 Program_0 Pitch_60 " + NOTE))


def test_a_pitch_that_sounds_is_struck_again_by_others_only():
    assert "Pitch_60" not in words(after(BEGUN)) and "Pitch_60" not in words(after(BEGUN + "Position_7"))
    assert "Pitch_60" in words(after(BEGUN + "Position_8"))
    assert "Pitch_60" in words(after(BEGUN + "Program_40"))


def test_a_chord_promises_its_notes():
    text = "Bar_None Position_0 Program_0 Chord_maj "
    roots = words(after(text))
    assert {"Pitch_21", "Pitch_60", "Pitch_102"} <= roots and "Pitch_103" not in roots
    assert words(after(text + "Pitch_60 " + NOTE)) == {"Pitch_64"}
    # MidiTok hears a chord where all end within half a quarter.
    found = words(after(text + "Pitch_60 " + NOTE + "Pitch_64 Velocity_79"))
    assert {"Duration_0.4.8", "Duration_1.4.8"} <= found and not {"Duration_0.3.8", "Duration_1.5.8"} & found
    whole = text + "Pitch_60 " + NOTE + "Pitch_64 " + NOTE + "Pitch_67 " + NOTE
    assert not {"Pitch", "Chord"} & kinds(after(whole))
    assert not {"Pitch", "Chord"} & kinds(after(whole + "Position_1"))
    assert {"Pitch", "Chord"} <= kinds(after(whole + "Position_2"))


def test_a_chord_is_not_named_beside_other_notes():
    assert "Chord" not in kinds(after(BEGUN)) and "Chord" not in kinds(after(BEGUN + "Position_1"))
    assert "Chord" in kinds(after(BEGUN + "Position_2"))
    assert "Chord" in kinds(after(BEGUN + "Program_40"))
    # All of its notes have to be free.
    assert not {"Pitch_60", "Pitch_56", "Pitch_53"} & words(after(BEGUN + "Position_2 Chord_maj"))


def test_the_chord_of_a_prompt_that_cannot_be_struck_is_left_alone():
    text = "Bar_None Position_0 Program_0 Chord_maj "
    assert "Pitch_113" not in WORDS
    assert {"Program", "Bar"} <= kinds(after(text + "Pitch_109 " + NOTE))
    assert words(after(text, Limits(polyphony=2))) == {"Bar_None"}
    assert words(after("Bar_None Position_0 Program_-1 Chord_maj")) == {"Bar_None"}


def test_there_are_no_more_programs_than_channels():
    full = "Bar_None Position_0 " + "".join(f"Program_{n} Pitch_60 {NOTE}" for n in range(15)) + "Position_8"
    found = {word for word in words(after(full)) if word.startswith("Program")}
    assert found == {f"Program_{n}" for n in (*range(14), -1)}
    assert "Program_15" in words(after(full, Limits(programs=frozenset({15}), drums=False)))


def test_limits_hold():
    text = "Bar_None Position_0 "
    limits = Limits(60, 72, frozenset({0, 4, 7}), frozenset({0, 40}), drums=False)
    assert words(after(text, limits)) == {"Program_0", "Program_40"}
    found = words(after(text + "Program_40", limits))
    assert found == {"Pitch_60", "Pitch_64", "Pitch_67", "Pitch_72", "Chord_maj"}
    assert words(after(text + "Program_40 Chord_maj", limits)) == {"Pitch_60"}
    with pytest.raises(ValueError, match="leave nothing to play"):
        RemiGrammar(limits=Limits(highest=20, drums=False))


def test_a_single_line_waits_for_the_end_of_its_note():
    single = Limits(polyphony=1, programs=frozenset({0}), drums=False)
    found = words(after(BEGUN, single))
    assert "Position_8" in found and not {"Position_7", "Pitch_64"} & found
    long = words(after("Bar_None Position_0 Program_0 Pitch_60 Velocity_79 Duration_12.0.4", single))
    assert long == {"Bar_None", "EOS_None"}


def test_the_end_comes_as_it_is_told():
    assert "EOS_None" in words(after(BEGUN)) and "EOS_None" not in words(after(BEGUN, ending=Ending.NEVER))
    must = words(after(BEGUN, ending=Ending.MUST))
    assert {"EOS_None", "Position_1", "Pitch_62"} <= must and "Bar_None" not in must
    assert "EOS_None" not in words(after(BEGUN + "Bar_None"))
    assert words(after(BEGUN + "Bar_None", ending=Ending.MUST)) == {"EOS_None"}
    assert words(after("", ending=Ending.MUST)) == {"EOS_None"}
    ended = after(BEGUN + "EOS_None Bar_None")
    assert ended.ended and not words(ended)


def test_a_bar_that_has_become_too_long_is_left():
    grammar = after(BEGUN, ending=Ending.MUST)
    for pitch in range(21, 109):
        for token in remi_ids(f"Pitch_{pitch} {NOTE}"):
            grammar.follow(token)
    assert words(grammar) == {"EOS_None"}
    grammar.ending = Ending.MAY
    assert {"EOS_None", "Bar_None", "Position_1"} <= words(grammar)


def test_bars_are_counted_where_the_next_begins():
    grammar = after(BEGUN)
    counts = []
    for token in remi_ids("Bar_None Position_16 Pitch_62 " + NOTE + "Bar_None Bar_None"):
        grammar.follow(token)
        counts.append((int(grammar.bars), grammar.at_bar, grammar.quarters))
    assert [count[:2] for count in counts] == [(0, True), *[(0, False)] * 4, (1, True), (2, True)]
    assert [count[2] for count in counts] == [4, *[6] * 4, 8, 12]


def test_the_last_bar_counts_when_the_piece_ends_in_it():
    grammar = RemiGrammar()
    for token in remi_ids(BEGUN + "EOS_None"):
        grammar.follow(token)
    assert grammar.bars == 1 and grammar.quarters == Fraction(0)


def test_a_clone_goes_its_own_way():
    grammar = after(BEGUN)
    before = words(grammar)
    twin = grammar.clone()
    for token in remi_ids("Program_40 Pitch_70 " + NOTE + "Position_1 Chord_maj Pitch_50"):
        twin.follow(token)
    assert words(grammar) == before != words(twin)


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"range 0\.\.426"):
        RemiGrammar([427])
