"""Composing: where a tune stops, what may not be written, and going on exactly where it stopped."""

import itertools
import random
from fractions import Fraction

import pytest

from rwkv_music.compose import Piece
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.manuscripts.abc import AbcManuscript
from rwkv_music.opening import open_tune
from rwkv_music.sampling import SamplingError, SamplingOptions

HEADER = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\n"
OPTIONS = SamplingOptions(seed=1)


def composed(engine, prompt: str, *, bars=None, max_tokens=500, stop=None) -> Piece:
    piece = Piece.begin(engine, AbcManuscript(open_tune(HEADER + prompt)), OPTIONS)
    for _character in piece.grow(Run(OPTIONS, bars, max_tokens, free=True), *([stop] if stop else [])):
        pass
    return piece


def written(piece: Piece) -> str:
    assert isinstance(piece.manuscript, AbcManuscript)
    return piece.manuscript.written(piece.made)


def music(piece: Piece) -> str:
    return piece.work().abc.removeprefix(HEADER)


def test_the_model_hears_a_beginning_and_the_prompt(scripted):
    engine = scripted("")
    piece = Piece.begin(engine, AbcManuscript(open_tune(HEADER + "GABc|")), OPTIONS)
    assert bytes(engine.heard) == b"\x02M:4/4\nL:1/8\nK:G\nGABc|"
    assert piece.length == 0


def test_the_model_ends_its_tune(scripted):
    piece = composed(scripted("GABc dedB|G8|]\n"), "")
    assert piece.ended
    assert music(piece) == "GABc dedB|G8|]\n"


def test_a_tune_does_not_end_before_its_first_bar(scripted):
    piece = composed(scripted(""), "GABc d4|]\n", max_tokens=5)
    assert not piece.ended
    assert piece.length == 5


def test_bars_are_counted_from_the_prompt_on(scripted):
    piece = composed(scripted("c8|d8|e8|f8|g8|"), "G8|A8|B8|", bars=2)
    assert music(piece) == "G8|A8|B8|c8|d8|]\n"


def test_the_bar_that_the_prompt_began_is_finished_first(scripted):
    assert music(composed(scripted("c4|d8|e8|f8|"), "G8|A4", bars=2)) == "G8|A4c4|d8|e8|]\n"


def test_an_upbeat_is_no_bar_and_no_place_to_stop(scripted):
    assert music(composed(scripted("g2|c8|d8|e8|"), "", bars=2)) == "g2|c8|d8|]\n"
    assert music(composed(scripted("g2|c8|d6:|\n|:g2|e8|f8|"), "", bars=2)) == "g2|c8|d6:|\n"
    assert music(composed(scripted("c8|d7:|\n|:g|e8|f8|"), "", bars=3)) == "c8|d7:|\ng|e8|]\n"


def test_a_half_bar_before_a_section_end_is_a_place_to_stop(scripted):
    assert music(composed(scripted("g4|c8|d4||\ne8|"), "", bars=2)) == "g4|c8|d4|]\n"


def test_a_bar_that_is_short_for_no_reason_does_not_count_as_whole(scripted):
    assert music(composed(scripted("c7|d8|e8|f8|"), "", bars=1)) == "c7|d8|]\n"


def test_no_line_begins_with_a_colon(scripted):
    assert music(composed(scripted("c8:|\n:d7|e8|f8|"), "", bars=2)) == "c8:|\nzd7|]\n"


def test_with_bars_the_model_may_not_end_before(scripted):
    piece = composed(scripted("c8|"), "", bars=3, max_tokens=40)
    assert not piece.ended
    assert piece.length == 40


def test_in_free_meter_every_bar_counts(scripted):
    assert music(composed(scripted("[M:none]GABc d|e2 f|g|a|"), "", bars=3)) == "[M:none]GABc d|e2 f|g|]\n"


def test_a_bar_cut_off_by_the_limit_goes(scripted):
    assert music(composed(scripted("GABc dedB|G8|ABcd"), "", max_tokens=15)) == "GABc dedB|G8|]\n"


def test_a_bar_that_the_limit_leaves_full_stays(scripted):
    assert music(composed(scripted("GABc dedB|G8|ABcd"), "", max_tokens=12)) == "GABc dedB|G8|]\n"


def test_somebody_stops_it(scripted):
    asked = itertools.count()
    piece = composed(scripted("GABc dedB|G8|ABcd efga|"), "", stop=lambda: next(asked) >= 16)
    assert music(piece) == "GABc dedB|G8|]\n"
    assert piece.runs[0].cut == 16


def test_one_who_looks_away_leaves_a_piece_that_can_go_on(scripted):
    piece = Piece.begin(scripted("GABc dedB|G8|ABcd efga|"), AbcManuscript(open_tune(HEADER)), OPTIONS)
    assert "".join(itertools.islice(piece.grow(Run(OPTIONS, None, 100, free=True)), 5)) == "GABc "
    assert "".join(itertools.islice(piece.grow(Run(OPTIONS, None, 100, free=True)), 4)) == "dedB"


def test_the_notes_of_the_prompt_are_not_changed_by_what_follows(scripted):
    for changing in "2/',<>-":
        piece = composed(scripted(changing + "|"), "GABc d", max_tokens=1)
        assert piece.memory.tokens[-1] == ord("z")


def test_no_empty_line_and_no_unprintable_sign_is_written(scripted):
    piece = composed(scripted("\n\n\x00\x7fAB"), "GABc d4|", max_tokens=6)
    assert bytes(piece.memory.tokens[-6:]) == b"\nzzzAB"


def test_no_section_without_music_is_written(scripted):
    piece = composed(scripted("||AB"), "GABc d4:|", max_tokens=4)
    assert bytes(piece.memory.tokens[-4:]) == b"|zAB"
    piece = composed(scripted("|:AB||"), "GABc d4:|", max_tokens=6)
    assert bytes(piece.memory.tokens[-6:]) == b"|:AB||"


def test_a_tune_that_has_to_go_on_gets_no_final_line(scripted):
    assert "|]" not in written(composed(scripted("c8|d8|]\ne8|"), "", bars=5, max_tokens=20))
    assert "[CE]" in written(composed(scripted("[CE]8|d8|"), "", bars=1))


def test_an_ended_piece_goes_on_only_for_more_bars(scripted):
    piece = composed(scripted("GABc dedB|G8|]\n"), "")
    assert list(piece.grow(Run(OPTIONS, None, 10, free=True))) == []
    assert "".join(piece.grow(Run(OPTIONS, 1, 10, free=True))) == "z" * 10


def test_branches_do_not_touch_each_other(tiny_engine):
    start = Piece.begin(tiny_engine, AbcManuscript(open_tune(HEADER)), OPTIONS)
    twin = start.branch()
    first = "".join(start.grow(Run(OPTIONS, None, 30, free=True)))
    assert twin.length == 0
    assert "".join(twin.grow(Run(OPTIONS, None, 30, free=True))) == first


def test_another_seed_is_another_tune(tiny_engine):
    start = Piece.begin(tiny_engine, AbcManuscript(open_tune(HEADER)), OPTIONS)
    first, other = (
        "".join(start.branch().grow(Run(SamplingOptions(seed=seed), None, 30, free=True))) for seed in (1, 2)
    )
    assert first != other


def test_a_model_of_something_else_is_refused(scripted):
    engine = scripted("")
    engine.spec.vocabulary = 20096
    with pytest.raises(UserError, match="this model speaks 'midi'"):
        Piece.begin(engine, AbcManuscript(open_tune(HEADER)), OPTIONS)


def test_overflowing_logits_are_told_of(scripted):
    with pytest.raises(SamplingError, match="overflowed"):
        composed(scripted("GABc|", sure=float("inf")), "")


def test_a_run_stopped_anywhere_goes_on_token_for_token(tiny_engine):
    opening = AbcManuscript(open_tune(HEADER + "GABc dedB|"))
    options = SamplingOptions(temperature=1.2, top_p=1.0, seed=5)
    whole = Piece.begin(tiny_engine, opening, options)
    list(whole.grow(Run(options, 4, 60, free=True)))
    dice = random.Random(0)
    for _ in range(5):
        piece = Piece.begin(tiny_engine, opening, options)
        while piece.length < whole.length:
            step = min(dice.randint(1, 30), whole.length - piece.length)
            list(piece.grow(Run(options, 100, step, free=True)))
        assert piece.memory.tokens == whole.memory.tokens


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_bars_in_two_goes_are_the_bars_of_one(scripted, bars):
    script = "c8|d8|e8|f8|g8|a8|"
    piece = composed(scripted(script), "", bars=bars)
    list(piece.grow(Run(OPTIONS, 4 - bars, 500, free=True)))
    assert music(piece) == music(composed(scripted(script), "", bars=4)) == "c8|d8|e8|f8|]\n"
    assert piece.bars == Fraction(4)


def test_an_upbeat_does_not_make_the_second_go_longer(scripted):
    script = "g2|c8|d8|e8|f8|a8|b8|"
    piece = composed(scripted(script), "", bars=2)
    list(piece.grow(Run(OPTIONS, 2, 500, free=True)))
    assert music(piece) == music(composed(scripted(script), "", bars=4)) == "g2|c8|d8|e8|f8|]\n"


def test_the_bar_before_a_repeat_is_whole_with_the_upbeat_of_the_prompt(scripted):
    assert music(composed(scripted("d8|e6:|\n|:g2|c8|"), "|:g2|c8|", bars=2)) == "|:g2|c8|d8|e6:|\n"
    assert written(composed(scripted("d8|e6:|\n|:g2|f8|g8|"), "|:g2|c8|", bars=3)).endswith("e6:|\n|:g2|f8|")


@pytest.mark.parametrize("prompt", ["", "|:g2|c8|", "G8|A4"])
def test_saved_at_any_bar_a_piece_goes_on_to_the_same_whole(scripted, prompt):
    dice = random.Random(0)
    for bars in range(1, 20):
        script = "".join(dice.choices(["c8|", "d8|", "d6:|\n|:g2|", "d4||\n", "d6|e2|", "d7|", "d4|\n|:", "d9|"], k=60))
        start = Piece.begin(scripted(script), AbcManuscript(open_tune(HEADER + prompt)), OPTIONS)
        whole, piece = start.branch(), start.branch()
        list(whole.grow(Run(OPTIONS, 20, 3000, free=True)))
        list(piece.grow(Run(OPTIONS, bars, 3000, free=True)))
        memory = piece.memory
        resumed = Piece(piece.engine, piece.manuscript, memory, piece.prompt_length, piece.sampler)
        list(resumed.grow(Run(OPTIONS, 20 - bars, 3000, free=True)))
        assert resumed.memory.tokens == whole.memory.tokens
        assert resumed.bars_of_run == whole.bars - piece.bars


def test_bars_of_a_run_are_those_that_the_text_keeps(scripted):
    assert composed(scripted("GABc dedB|G8|ABcd"), "", max_tokens=12).bars == 2
    piece = composed(scripted("GABc dedB|G8|ABcd efga|"), "", max_tokens=15).branch()
    assert (piece.bars, piece.bars_of_run) == (2, 0)
    list(piece.grow(Run(OPTIONS, 1, 100, free=True)))
    assert (piece.bars, piece.bars_of_run) == (3, 1)
