"""Whatever the grammar of notes lets through is music that the encoder itself would write."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_music_tokenizers.grammar import Ending, Grammar, Limits
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import BAR, DRUM, EOS, FIELD, KEY, METER, NAMES, PART, PITCH, SIZE, TIME

NOTES = NoteTokenizer()
HEADER = "<bos> <grid> kind:piano meter:4/4 key:C tempo:120 part:0 program:0"
DUO = HEADER + " part:1 program:40"
PERFORMED = "<bos> <perf> kind:piano part:0 program:0"


def after(text, limits=None, ending=Ending.MAY, **more) -> Grammar:
    grammar = NoteGrammar(NOTES.from_text(text).tolist(), limits or Limits(), **more)
    grammar.ending = ending
    return grammar


def words(text):
    return text.split()


def names(grammar):
    return {NAMES[token] for token in np.flatnonzero(grammar.allowed())}


def walk(grammar, rng, steps, begun=()):
    """Tokens drawn at random, rare kinds as often as common ones; then the piece is brought to its end."""
    ids = list(begun)
    for step in range(10 * steps + 400):
        if step == steps:
            grammar.ending = Ending.MUST
        choices = np.flatnonzero(grammar.allowed())
        assert len(choices), NOTES.text(ids[-20:])
        fields = np.unique(FIELD[choices])
        token = int(rng.choice(choices[FIELD[choices] == rng.choice(fields)]))
        grammar.follow(token)
        ids.append(token)
        if grammar.ended:
            return ids
    raise AssertionError("the piece does not end: " + NOTES.text(ids[-40:]))


def without_line(ids):
    """A document without the empty bar, or the time, that it was cut at."""
    end = len(ids) - 1
    while FIELD[ids[end - 1]] in (BAR, METER, KEY, TIME):
        end -= 1
    return [*ids[:end], EOS]


def again(ids):
    """What the encoder writes of the music of a document."""
    clock = NAMES[ids[1]][1:-1]
    return NOTES.encode(NOTES.decode(ids), NoteOptions(clock, "keep", NAMES[ids[2]][5:], silent=True))


limits = st.builds(
    Limits,
    lowest=st.integers(0, 60),
    highest=st.integers(61, 127),
    classes=st.sampled_from([frozenset(), frozenset({0, 4, 7}), frozenset(range(0, 12, 2))]),
    programs=st.sampled_from([frozenset(), frozenset({0, 40})]),
    drums=st.booleans(),
    polyphony=st.sampled_from([0, 0, 1, 2]),
)


@settings(deadline=None, max_examples=60)
@given(limits, st.booleans(), st.integers(0, 2**32), st.integers(0, 250))
def test_a_walk_ends_as_a_piece_that_the_encoder_would_write(limit, pedals, seed, steps):
    grammar = NoteGrammar((), limit, pedals)
    grammar.ending = Ending.NEVER
    ids = walk(grammar, np.random.default_rng(seed), steps)
    assert NOTES.text(again(ids)) == NOTES.text(without_line(ids))
    kept = NOTES.decode(ids)
    pitches = [pitch for track in kept.tracks if not track.drums for pitch in track.notes[:, 2].tolist()]
    assert set(pitches) <= set(limit.pitches)
    for track in kept.tracks:
        if track.drums:
            assert limit.drums
        elif limit.programs:
            assert track.program in limit.programs
        for onset in track.notes[:, 0] if limit.polyphony and not track.drums else ():
            sounding = (track.notes[:, 0] <= onset) & (onset < track.notes[:, 1])
            assert np.count_nonzero(sounding) <= limit.polyphony


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 120))
def test_a_piece_may_end_by_itself(seed, steps):
    ids = walk(NoteGrammar(), np.random.default_rng(seed), steps)
    assert NOTES.text(again(ids)) == NOTES.text(without_line(ids))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, SIZE - 1), max_size=40), limits, st.integers(0, 2**32), st.sampled_from(list(Ending)))
def test_after_any_prompt_the_piece_goes_on_or_nothing_can(tokens, limit, seed, ending):
    grammar = NoteGrammar(tokens, limit)
    grammar.ending = ending
    rng = np.random.default_rng(seed)
    for _ in range(40):
        choices = np.flatnonzero(grammar.allowed())
        if not len(choices):
            assert grammar.ended or ending is Ending.NEVER
            break
        grammar.follow(int(rng.choice(choices)))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from([BAR, TIME, TIME + 5, PART, PITCH + 60, DRUM + 40, 810, 7, 8, 3]), max_size=60),
    st.integers(0, 2**32),
)
def test_a_prompt_that_breaks_the_rules_is_followed_by_music_that_keeps_them(tokens, seed):
    begun = NOTES.from_text(DUO).tolist() + tokens
    grammar = NoteGrammar(begun)
    grammar.ending = Ending.NEVER
    ids = walk(grammar, np.random.default_rng(seed), 60, begun)
    assert NOTES.decode(ids).count >= NOTES.decode(begun).count


def test_a_document_of_the_encoder_is_allowed_token_by_token():
    rng = np.random.default_rng(3)
    grammar = NoteGrammar()
    grammar.ending = Ending.NEVER
    ids = without_line(walk(grammar, rng, 2000))
    grammar = NoteGrammar()
    for place, token in enumerate(ids):
        assert grammar.allowed()[token], NOTES.text(ids[max(place - 20, 0) : place + 1])
        grammar.follow(token)


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("", {"<bos>"}),
        ("<bos>", {"<grid>", "<perf>"}),
        ("<bos> <grid> kind:tune meter:3/4 key:none tempo:120", {"part:0"}),
        (HEADER + " part:1", {f"program:{program}" for program in (*range(128), "drums")}),
    ],
)
def test_the_header_is_complete(text, follows):
    assert names(after(text)) == follows


def test_a_bar_is_not_longer_than_its_meter():
    found = names(after(HEADER.replace("4/4", "3/8") + " bar"))
    assert "time:35" in found and "time:36" not in found
    assert "length:288" in names(after(HEADER.replace("4/4", "3/8") + " bar time:0 part:0 pitch:60"))
    assert "length:312" not in names(after(HEADER.replace("4/4", "3/8") + " bar time:0 part:0 pitch:60"))


def test_a_group_rises_by_part_and_pitch():
    found = names(after(DUO + " bar time:0 part:0 pitch:60 length:12"))
    assert {"pitch:61", "part:1", "time:1", "bar", "velocity:3", "<eos>"} <= found
    assert not {"pitch:60", "pitch:59", "part:0", "time:0", "velocity:8", "tempo:90", "key:G"} & found
    found = names(after(DUO + " bar time:0 part:1 pitch:60 length:12"))
    assert "part:0" not in found
    assert "part:0" in names(after(DUO + " bar time:0 part:1 pitch:60 length:12 time:5"))


def test_a_pitch_that_sounds_is_not_struck_again():
    text = HEADER + " bar time:0 part:0 pitch:60 length:12 "
    assert "pitch:60" not in names(after(text + "time:11"))
    assert "pitch:60" in names(after(text + "time:12"))


def test_drums_are_struck_again_at_once():
    text = "<bos> <grid> kind:drums meter:4/4 key:none tempo:120 part:0 program:drums bar time:0 part:0 drum:36 "
    assert "drum:36" not in names(after(text))
    found = names(after(text + "time:1"))
    assert "drum:36" in found and "pitch:36" not in found


def test_what_does_not_change_is_not_said():
    found = names(after(HEADER + " bar time:0 part:0 pitch:60 length:12 bar"))
    assert {"key:G", "meter:3/4", "bar"} <= found
    assert not {"key:C", "key:none", "meter:4/4"} & found
    assert "tempo:120" not in names(after(HEADER + " bar time:1"))
    assert not any(name.startswith("tempo") for name in names(after(HEADER + " bar time:0")))
    assert not any(name.startswith(("meter", "key")) for name in names(after(HEADER + " bar")))


def test_a_tempo_after_the_last_note_is_followed_by_music():
    text = HEADER + " bar time:0 part:0 pitch:60 length:12 "
    assert "<eos>" in names(after(text + "time:11 tempo:60"))
    assert "<eos>" not in names(after(text + "time:12 tempo:60"))
    assert "<eos>" not in names(after(text + "time:12 tempo:60", ending=Ending.MUST))


def test_the_end_comes_as_it_is_told():
    text = HEADER + " bar time:0 part:0 pitch:60 length:12"
    assert "<eos>" not in names(after(text, ending=Ending.NEVER))
    must = names(after(text, ending=Ending.MUST))
    assert {"<eos>", "time:12"} <= must and "bar" not in must
    assert "<eos>" not in names(after(text + " bar"))
    assert names(after(text + " bar", ending=Ending.MUST)) == {"<eos>"}
    assert names(after(HEADER, ending=Ending.MUST)) == {"<eos>"}


def test_pedals_come_up_before_the_end():
    text = HEADER + " bar time:0 part:0 pedal:down pitch:60 length:12"
    assert "<eos>" not in names(after(text))
    grammar = after(text, ending=Ending.MUST)
    assert all(name.startswith("time:") for name in names(grammar))
    for name in ("time:95", "pedal:up", "<eos>"):
        assert name in names(grammar)
        grammar.follow(NAMES.index(name))
    assert grammar.ended and not names(grammar)


def test_a_part_named_for_its_pedal_may_move_it_even_towards_the_end():
    text = DUO + " bar time:0 part:1 pitch:60 length:48 time:12 part:0 pedal:down part:1"
    assert names(after(text, Limits(polyphony=1), Ending.MUST)) == {"pedal:down"}


def test_pedals_are_known_from_the_prompt_or_by_word():
    assert "pedal:down" not in names(after(HEADER + " bar time:0 part:0"))
    assert "pedal:down" in names(after(HEADER + " bar time:0 part:0", pedals=True))
    assert "pedal:up" in names(after(HEADER + " bar time:0 part:0 pedal:down time:4"))


def test_a_part_that_may_not_play_is_silent():
    found = names(after(DUO + " bar time:0", Limits(programs=frozenset({40}))))
    assert "part:1" in found and "part:0" not in found
    found = names(after(HEADER, Limits(programs=frozenset({40}))))
    assert found == {"part:1"}
    found = names(after(HEADER + " part:1", Limits(programs=frozenset({40}), drums=False)))
    assert found == {"program:40"}


def test_a_single_line_waits_for_the_end_of_its_note():
    single = Limits(polyphony=1)
    text = HEADER + " bar time:0 part:0 pitch:60 length:12"
    found = names(after(text, single))
    assert "time:12" in found and not {"time:11", "pitch:64"} & found
    long = names(after(HEADER + " bar time:0 part:0 pitch:60 length:192", single))
    assert "bar" in long and not any(name.startswith("time:") for name in long)


def test_pitches_keep_to_their_limits():
    found = names(after(HEADER + " bar time:0 part:0", Limits(60, 72, frozenset({0, 7}))))
    assert {name for name in found if name.startswith("pitch")} == {"pitch:60", "pitch:67", "pitch:72"}


def test_bars_are_counted_where_the_next_begins():
    grammar = after(HEADER + " bar time:0 part:0 pitch:60 length:12")
    counts = []
    for name in words("bar time:0 pitch:62 length:12 bar time:48 pitch:64 length:6 bar <eos>"):
        grammar.follow(NAMES.index(name))
        counts.append((int(grammar.bars), grammar.at_bar, float(grammar.quarters)))
    assert counts == [
        (0, True, 4), (0, False, 4), (0, False, 4), (0, False, 4),
        (1, True, 8), (1, False, 10), (1, False, 10), (1, False, 10), (2, True, 12), (2, False, 12),
    ]  # fmt: skip


def test_the_last_bar_counts_when_the_piece_ends_in_it():
    grammar = after(HEADER)
    for name in words("bar time:0 part:0 pitch:62 length:12 <eos>"):
        grammar.follow(NAMES.index(name))
    assert grammar.ended and grammar.bars == 1


def test_a_performance_has_a_bar_every_two_seconds():
    grammar = after(PERFORMED)
    assert "time:0" in names(grammar) and "bar" not in names(grammar)
    marks = []
    for name in words("time:0 part:0 pitch:60 length:20 time:191 time:100 pitch:60 length:20 time:1 pitch:61 length:1"):
        assert name in names(grammar)
        grammar.follow(NAMES.index(name))
        marks.append(grammar.at_bar)
    assert [place for place, mark in enumerate(marks) if mark] == [5]
    assert (grammar.bars, grammar.quarters) == (1, Fraction(292, 50))
    assert "time:0" not in names(grammar)
    assert "time:5" not in names(after(PERFORMED + " time:190"))


def test_a_clone_goes_its_own_way():
    grammar = after(DUO + " bar time:0 part:0 pitch:60 length:12")
    before = names(grammar)
    twin = grammar.clone()
    for name in words("velocity:2 pitch:70 length:4 part:1 pitch:33 length:9 bar"):
        twin.follow(NAMES.index(name))
    assert names(grammar) == before
    assert names(twin) != before


def test_only_tokens_that_say_something_may_follow():
    bare = "<bos> <grid> kind:tune part:0 program:0 bar time:3"
    assert not any(name.startswith("<") for name in names(after(bare)))
    assert "part:0" in names(after(bare)) and "tempo:120" in names(after(bare))


def test_nothing_follows_the_end():
    grammar = after(HEADER + " bar time:0 part:0 pitch:60 length:12 <eos> bar")
    assert grammar.ended and not names(grammar)


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match=r"range 0\.\.895"):
        NoteGrammar([896])
