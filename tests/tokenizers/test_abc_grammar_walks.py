"""Whatever is drawn from what may follow in ABC is a tune without a fault, and ends when it must."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from rwkv_music_tokenizers.abc_grammar import AbcGrammar
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.bars import check_bars
from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Limits
from rwkv_music_training.judging.abc2midi import JudgeError, abc2midi_errors, find_abc2midi

METERS = ("4/4", "6/8", "3/4", "2/4", "9/8", "12/8", "C|", "C", "5/8", "7/8", "3/2", "2/2", "2+2+3/8", "none")
UNITS = ("1/8", "1/16", "1/4", "1/32")
KEYS = ("G", "Am", "Bb", "Ador", "F#m", "none", "HP")
# How often a model writes what, roughly.
WEIGHTS = {
    **dict.fromkeys("ABcdefgGDEF", 6.0),
    " ": 4,
    "|": 20,
    "2": 3,
    "/": 1.5,
    "\n": 8,
    ">": 1.5,
    "3": 1,
    "(": 1,
    ":": 8,
    "z": 0.3,
    '"': 0.5,
    "[": 0.5,
    "1": 6,
    "]": 3,
    "4": 1,
    "8": 0.5,
    "-": 0.5,
    "K": 2,
    "M": 2,
    "L": 2,
    "R": 1,
}
EVENLY: dict[str, float] = {}
# A piece that must end does so within so many characters.
LONGEST_END = 400
PROMPTS = (
    'X:1\nT:A\nM:6/8\nL:1/8\nK:G\n|:D|G2G G2A|B2d d2B|"C"c3 "G"B3|A3- A2:|\n|:(3def|g>fe d2B|1 c2A G3:|2 A2F G3|]\n',
    "M:4/4\nL:1/16\nK:Dm\n A4- A2>B2 {cd}e4 [FAd]4 | !trill!f8 z8 |1 g16 :|2 a16 || [K:F][M:3/4] c12 |]\n",
    # Bars that do not add up, unclosed signs, and words that no grammar allows.
    "X:2\nV:1\nM:3/4\nL:1/4\nK:C\nC2DE|F|:G4:|A{b|[ce c|\"G|d(e f) &g2 a'|,,3/7 B||\n%%text\nw:la\n(3cd|(5efg|a>|b-|\n",
    "S:3\nB:4\nE:5\nL:1/8\nM:2/4\nK:Ab\n|: E2 | A2 c>e | f/e/c/A/ B2 :|: c2 | e2 _g2 |",
)


def walk(
    seed: int,
    before: str = "",
    weights: Mapping[str, float] = EVENLY,
    limits: Limits = NO_LIMITS,
    goes_on: int = 100,
) -> str:
    """A piece drawn character by character after a prompt; it must end from the character `goes_on` on."""
    draw = random.Random(seed)
    grammar = AbcGrammar(before, limits)
    grammar.ending = draw.choice([Ending.NEVER, Ending.MAY])
    made: list[str] = []
    while not grammar.ended:
        if len(made) == goes_on:
            grammar.ending = Ending.MUST
        assert len(made) < goes_on + LONGEST_END, "it does not end"
        tokens = np.flatnonzero(grammar.allowed()).tolist()
        assert tokens, f"nothing may follow {before}{''.join(made)}"
        drawn = draw.choices(tokens, [weights.get(chr(token), 0.02) for token in tokens] if weights else None)[0]
        grammar.follow(drawn)
        made.append(chr(drawn))
    return before + "".join(made[:-1])


def faults(text: str) -> list[str]:
    score = read_abc(text if text.startswith("X:") else "X:1\n" + text)
    return [str(fault) for fault in (*score.warnings, *check_bars(score))]


@pytest.mark.parametrize("weights", [EVENLY, WEIGHTS], ids=["evenly", "like a model"])
@pytest.mark.parametrize("start", range(0, 260, 65))
def test_every_piece_is_without_a_fault(start: int, weights: Mapping[str, float]):
    for seed in range(start, start + 65):
        draw = random.Random(seed)
        header = f"M:{draw.choice(METERS)}\nL:{draw.choice(UNITS)}\nK:{draw.choice(KEYS)}\n"
        text = walk(seed, draw.choice(["", header, header]), weights, goes_on=draw.randrange(80))
        assert not faults(text), text
        assert text.endswith("\n") and text.rstrip().endswith(("|]", ":|", "||"))


def test_another_program_finds_no_error_either():
    try:
        program = find_abc2midi()
    except JudgeError:
        pytest.skip("there is no abc2midi here")
    for seed in range(40):
        header = f"M:{random.Random(seed).choice(METERS)}\nL:1/8\nK:G\n"
        text = walk(seed, header, WEIGHTS if seed % 2 else EVENLY)
        assert not abc2midi_errors("X:1\n" + text, program), text


@pytest.mark.parametrize("seed", range(60))
def test_after_any_prompt_new_bars_add_up(seed: int):
    draw = random.Random(seed)
    prompt = draw.choice(PROMPTS)
    before = prompt[: draw.randrange(len(prompt))]
    text = walk(seed, before, WEIGHTS if seed % 2 else EVENLY, goes_on=draw.randrange(100))
    score = read_abc(text)
    old = before.count("\n") + 1, len(before) - before.rfind("\n")
    place = max([old, *((warning.place.line, 0) for warning in score.warnings)])
    faulty = [fault for fault in check_bars(score) if fault.place and (fault.place.line, fault.place.column) > place]
    assert not faulty, text


@pytest.mark.parametrize("seed", range(20))
def test_notes_stay_within_their_limits(seed: int):
    draw = random.Random(seed)
    scale = frozenset(draw.sample(range(12), draw.randrange(3, 8)))
    limits = Limits(draw.randrange(40, 60), draw.randrange(66, 90), scale, polyphony=draw.randrange(4))
    header = f"M:4/4\nL:1/8\nK:{draw.choice(KEYS)}\n"
    text = walk(seed, header, WEIGHTS if seed % 2 else EVENLY, limits)
    assert not faults(text), text
    for bar in read_abc("X:1\n" + text).bars():
        for event in bar.events:
            sounding = [*event.tones, *(tone for grace in event.grace for tone in grace.tones)]
            assert all(tone.pitch.midi in limits.pitches for tone in sounding), text
            assert len(event.tones) <= (limits.polyphony or 128)
