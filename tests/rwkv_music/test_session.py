"""Sessions: a tree of takes in which every leaf is what its path would have made in one go."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from rwkv_music.compose import Piece
from rwkv_music.making import Run
from rwkv_music.manuscripts.abc import AbcManuscript
from rwkv_music.opening import open_tune
from rwkv_music.sampling import SamplingOptions
from rwkv_music.sealed import SealedError
from rwkv_music.session import Session, with_seeds
from rwkv_music.session_file import load_session, read_model, save_session

TUNE = AbcManuscript(open_tune("X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\nGABc dedB|"))
OPTIONS = SamplingOptions(temperature=1.3, top_p=1.0, seed=11)


def run(tokens: int, seed: int = 11) -> Run:
    return Run(replace(OPTIONS, seed=seed), 1000, tokens, free=True)


def in_one_go(session: Session, number: int) -> Piece:
    """The runs that made a take, on a new piece."""
    piece = Piece.begin(session.engine, session.manuscript, OPTIONS)
    for own in session.takes[number].piece.runs:
        list(piece.grow(own))
    return piece


def same(piece: Piece, other: Piece) -> bool:
    here, there = piece.memory, other.memory
    states = zip(here.state.tensors().values(), there.state.tensors().values(), strict=True)
    return (
        here.tokens == there.tokens
        and torch.equal(here.logits, there.logits)
        and all(torch.equal(x, y) for x, y in states)
        and piece.sampler.state() == other.sampler.state()
    )


@pytest.fixture
def session(tiny_engine) -> Session:
    return Session(tiny_engine, TUNE, OPTIONS)


def walk(session: Session, dice: random.Random, steps: int) -> None:
    for _ in range(steps):
        match dice.choice(("on", "on", "on", "bar", "undo", "redo", "several", "go")):
            case "on":
                list(session.go_on(run(dice.randint(1, 6), dice.randint(11, 13))))
            case "bar":
                list(
                    session.go_on(
                        run(dice.randint(1, 4), dice.randint(11, 13)), bar=dice.randrange(len(session.bars()))
                    )
                )
            case "several":
                list(session.several(with_seeds([run(dice.randint(1, 3)), run(1, 12)], 3)))
            case "undo":
                session.undo()
            case "redo":
                session.redo()
            case "go":
                session.go_to(dice.randrange(len(session.takes)))


def test_a_thousand_walks_over_the_tree_end_where_one_go_does(tiny_engine):
    dice = random.Random(3)
    root = Session(tiny_engine, TUNE, OPTIONS)
    for _ in range(1000):
        session = Session.of_takes([replace(root.takes[0], piece=root.takes[0].piece.branch())], 0)
        walk(session, dice, 4)
        number = dice.randrange(len(session.takes))
        assert same(session.takes[number].piece, in_one_go(session, number))


def test_going_on_from_any_bar_is_stopping_there(session, tiny_engine):
    session = Session.of_takes(session.takes, 0)
    list(session.go_on(Run(OPTIONS, 1000, 200, free=True)))
    bars = session.bars()
    assert bars[0] == 0 and bars == sorted(set(bars)) and len(bars) > 2
    for bar, length in enumerate(bars):
        session.go_to(1)
        assert session.piece.back_to(length).length == length
        list(session.go_on(run(5), bar=bar))
        assert session.take.after == length
        assert same(session.piece, in_one_go(session, session.current))


def test_takes_made_together_are_those_made_alone(session):
    runs = with_seeds([run(20)], 4)
    list(session.several(runs))
    alone = [session.takes[0].piece.branch() for _ in runs]
    for piece, own in zip(alone, runs, strict=True):
        list(piece.grow(own[0]))
    assert all(same(take.piece, piece) for take, piece in zip(session.takes[1:], alone, strict=True))
    assert len({piece.memory.tokens for piece in alone}) == 4


def test_undo_and_redo_walk_the_path(session):
    for tokens in (3, 4):
        list(session.go_on(run(tokens)))
    assert session.path() == [0, 1, 2] and not session.redo()
    assert session.undo() and session.undo() and not session.undo()
    assert session.current == 0
    assert session.redo() and session.redo() and session.current == 2
    session.undo()
    list(session.go_on(run(1)))
    assert not session.redo()
    assert session.children(1) == [2, 3]


def test_a_take_somebody_stopped_is_kept_and_goes_on(session):
    growing = session.go_on(run(50))
    for _ in range(7):
        next(growing)
    growing.close()
    assert session.piece.length == 7 and session.piece.runs[0].cut == 7
    list(session.go_on(run(3)))
    assert same(session.piece, in_one_go(session, session.current))


def test_states_are_let_go_within_the_budget_and_made_again(tiny_engine):
    small = Session(tiny_engine, TUNE, OPTIONS, budget=300_000)
    for _ in range(3):
        list(small.go_on(Run(OPTIONS, 1000, 150, free=True)))
    states = {id(m.state): m.bytes for take in small.takes for m in take.piece.moments if m.state is not None}
    assert sum(states.values()) <= 300_000 + 2 * max(states.values())
    small.go_to(3)
    for length in small.bars()[:: len(small.bars()) // 5]:
        assert same(small.piece.back_to(length), small.piece.back_to(length))
        cut = small.piece.back_to(length)
        fresh = Piece.begin(tiny_engine, TUNE, OPTIONS)
        for own in cut.runs:
            list(fresh.grow(own))
        assert same(cut, fresh)


@pytest.fixture
def stored(session, tmp_path):
    walk(session, random.Random(5), 12)
    path = tmp_path / "evening.rwkvsession"
    save_session(session, "tiny", path)
    return path, session


def test_a_session_comes_back_whole(stored, tiny_engine):
    path, session = stored
    again = load_session(path, tiny_engine)
    assert read_model(path) == "tiny"
    assert again.current == session.current and len(again.takes) == len(session.takes)
    for before, after in zip(session.takes, again.takes, strict=True):
        assert (before.parent, before.after) == (after.parent, after.after)
        assert same(before.piece, after.piece) and before.piece.runs == after.piece.runs
        assert [m.length for m in before.piece.moments] == [m.length for m in after.piece.moments]
    for there in (session, again):
        list(there.go_on(run(5), bar=0))
        list(there.go_on(run(9)))
    assert same(session.piece, again.piece)


def test_takes_that_were_stopped_before_they_began_come_back(session, tiny_engine, tmp_path):
    session.begin(2)
    save_session(session, "folk", tmp_path / "a.rwkvsession")
    again = load_session(tmp_path / "a.rwkvsession", tiny_engine)
    assert len(again.takes) == len(session.takes)
    assert all(same(one.piece, other.piece) for one, other in zip(again.takes, session.takes, strict=True))


def test_states_that_were_not_written_are_made_again(stored, tiny_engine):
    path, session = stored
    tensors = load(path.read_bytes())
    from rwkv_music.sealed import header_of, seal
    from rwkv_music.session_file import FORMAT, THING

    label = json.loads(header_of(path, path.read_bytes(), FORMAT, THING)["__metadata__"]["label"])
    few = {name: x for name, x in tensors.items() if name.endswith("tokens") or name == "prompt" or name[:2] == "0."}
    path.write_bytes(seal(FORMAT, label, few))
    again = load_session(path, tiny_engine)
    assert all(same(here.piece, there.piece) for here, there in zip(session.takes, again.takes, strict=True))


def test_no_other_file_is_taken_for_a_session(stored, tiny_engine, tmp_path):
    path, _ = stored
    content = path.read_bytes()
    dice = random.Random(0)
    for _ in range(60):
        spoiled = bytearray(content)
        for _ in range(dice.randint(1, 3)):
            spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
        path.write_bytes(spoiled[: dice.choice((len(spoiled), dice.randrange(len(spoiled))))])
        if path.read_bytes() != content:
            with pytest.raises(SealedError, match="rwkvsession"):
                load_session(path, tiny_engine)
    path.write_bytes(save({"x": torch.zeros(1)}, {"format": "other"}))
    with pytest.raises(SealedError, match="not a session"):
        load_session(path, tiny_engine)
