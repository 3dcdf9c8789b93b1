"""Pieces in the words of published MIDI models: no key hangs, prompts go on in time, and freedom is freedom."""

from collections import Counter

import numpy as np
import pytest
import torch

from rwkv_music.checkpoint.load import save_weights
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.manuscripts.open_words import open_words
from rwkv_music.manuscripts.words import WordsManuscript, published_recipe
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.sampling import SamplingOptions
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, Track, rows

OPTIONS = SamplingOptions(temperature=1.0, top_p=1.0, seed=3)
PROMPT = Performance((Track(rows([(0, 500, 60, 80), (500, 1000, 64, 80)], 4)),), 500)


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    """A random RWKV-7 that speaks `midipiano`."""
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(new_spec(1, 64, 2176), generator)
    noisy = {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    path = tmp_path_factory.mktemp("models") / "piano.safetensors"
    save_weights(noisy, path)
    torch.set_num_threads(1)
    return Engine.open(path)


def grown(engine: Engine, run: Run, prompt: Performance | None = None) -> Piece:
    piece = Piece.begin(engine, open_words("midipiano", prompt), OPTIONS)
    for _ in piece.grow(run):
        pass
    return piece


def test_no_note_hangs_or_overlaps_and_the_piece_ends(engine):
    for seed in range(3):
        piece = grown(engine, Run(SamplingOptions(top_p=1.0, seed=seed), max_tokens=150, close=True))
        assert piece.ended
        words = piece.manuscript
        down: Counter[int] = Counter()
        for token in piece.made:
            if token >= 128:
                key, level = divmod(token - 128, 16)
                down[key] += 1 if level else -1
                assert 0 <= down[key] <= 1
        assert not +down
        for track in words.work(piece.made, piece.ended).performance.tracks:
            for pitch in set(track.notes[:, PITCH].tolist()):
                notes = track.notes[track.notes[:, PITCH] == pitch]
                assert (notes[1:, START] >= notes[:-1, END]).all()


def test_a_prompt_stays_and_what_follows_comes_after_it(engine):
    piece = grown(engine, Run(OPTIONS, seconds=3.0, max_tokens=2000), PROMPT)
    played = piece.work().performance
    # Half a second is 62.5 units of 8 ms.
    assert played.tracks[0].notes[0, [START, END, PITCH]].tolist() == [0, 496, 60]
    assert piece.bars >= 1
    assert (played.tracks[0].notes[2:, START] >= 1000).all() and played.seconds(np.array([played.end]))[0] > 3


def test_limits_hold_for_what_is_new(engine):
    limits = Limits(lowest=60, highest=71, classes=frozenset((0, 4, 7)), polyphony=2)
    piece = grown(engine, Run(OPTIONS, max_tokens=200, limits=limits))
    pitches = {(token - 128) // 16 for token in piece.made if token >= 128}
    assert pitches and pitches <= {60, 64, 67}


def test_limits_that_leave_nothing_to_play_are_told():
    with pytest.raises(UserError, match="leave nothing to play"):
        open_words("midi").grammar(False, Limits(programs=frozenset((125,)), drums=False))


def test_a_manuscript_is_made_again_from_its_data():
    manuscript = open_words("midipiano", PROMPT)
    assert WordsManuscript.from_plain("midipiano", dict(manuscript.plain())) == manuscript
    for spoiled in ({"prompt": "p:3c:5 nonsense"}, {"begin": 7}, {"title": 3}):
        with pytest.raises((ValueError, TypeError)):
            WordsManuscript.from_plain("midipiano", {**manuscript.plain(), **spoiled})


def test_the_recipe_of_the_published_models_is_known():
    recipe = published_recipe("midi")
    assert recipe is not None and (recipe.penalty, recipe.penalty_decay) == (0.5, 0.997)
    weights = open_words("midi").weights
    # A wait counts 0.3, a second and a note 1, a release nothing.
    assert [weights[token] for token in (10, 127, 128 + 5, 128)] == [0.3, 1.0, 1.0, 0.0]


def unpressed(made) -> int:
    """Releases of keys that are not down."""
    down, found = set(), 0
    for token in made:
        key, level = divmod(token - 128, 16)
        if token >= 128 and level:
            down.add(key)
        elif token >= 128:
            found += key not in down
            down.discard(key)
    return found


def test_free_pieces_may_do_what_music_does_not(engine):
    strict, free = (grown(engine, Run(OPTIONS, max_tokens=200, free=free)) for free in (False, True))
    assert unpressed(strict.made) == 0 < unpressed(free.made)
