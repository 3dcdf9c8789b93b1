"""Pieces in RWKV-Runner's REMI: a prompt stays, bars are those that were asked for, and without MidiTok it is told."""

import sys

import pytest
import torch

from rwkv_music.checkpoint.load import save_weights
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.manuscripts import remi
from rwkv_music.manuscripts.choose import language_of, manuscript_of
from rwkv_music.manuscripts.open_remi import open_remi
from rwkv_music.manuscripts.remi import RemiManuscript
from rwkv_music.manuscripts.wishes import Wishes
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.opening import Header
from rwkv_music.prompts import NOTHING, open_again, open_source
from rwkv_music.sampling import SamplingOptions
from rwkv_music.session import Session
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, Track, rows
from rwkv_music_tokenizers.remi_vocabulary import remi_ids

pytest.importorskip("miditok", reason="pip install 'rwkv-music[miditok]'")

OPTIONS = SamplingOptions(temperature=1.0, top_p=1.0, seed=3)
# A bar of 4/4: a quarter has 480 ticks.
PROMPT = Performance((Track(rows([(480 * beat, 480 * beat + 480, 60 + beat, 79) for beat in range(4)], 4), 73),), 480)


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    """A random RWKV-7 that speaks `remi`."""
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(new_spec(1, 64, 427), generator)
    noisy = {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    path = tmp_path_factory.mktemp("models") / "remi.safetensors"
    save_weights(noisy, path)
    torch.set_num_threads(1)
    return Engine.open(path)


def grown(engine: Engine, run: Run, manuscript: RemiManuscript) -> Piece:
    piece = Piece.begin(engine, manuscript, OPTIONS)
    for _ in piece.grow(run):
        pass
    return piece


def test_a_model_of_427_tokens_speaks_remi(engine):
    assert language_of(engine) == "remi"
    assert open_source(NOTHING, "remi", Wishes()) == RemiManuscript(())


def test_the_prompt_stands_at_the_start_and_bars_are_counted_behind_it(engine):
    piece = grown(engine, Run(OPTIONS, 2, 5000), open_remi(PROMPT))
    played = piece.work().performance
    assert piece.bars == 2
    flute = next(track for track in played.tracks if track.program == 73)
    beat = played.ticks
    begun = flute.notes[flute.notes[:, START] < 4 * beat, : PITCH + 1].tolist()
    assert all([place * beat, (place + 1) * beat, 60 + place] in begun for place in range(4))


def test_no_note_overlaps_another_and_the_piece_is_brought_to_its_end(engine):
    for seed in range(3):
        piece = grown(engine, Run(SamplingOptions(top_p=1.0, seed=seed), 2, 3000, close=True), open_remi())
        assert piece.ended and piece.bars >= 1
        for track in piece.work().performance.tracks:
            for pitch in set(track.notes[:, PITCH].tolist()):
                own = track.notes[track.notes[:, PITCH] == pitch]
                assert (own[1:, START] >= own[:-1, END]).all()


def test_limits_hold_for_what_is_new(engine):
    limits = Limits(lowest=60, highest=72, classes=frozenset((0, 2, 4, 5, 7, 9, 11)), programs=frozenset((73,)))
    piece = grown(engine, Run(OPTIONS, max_tokens=200, limits=limits), open_remi())
    tracks = [track for track in piece.work().performance.tracks if not track.drums]
    assert [track.program for track in tracks] == [73]
    assert set(tracks[0].notes[:, PITCH].tolist()) <= {60, 62, 64, 65, 67, 69, 71, 72}


def test_limits_that_leave_nothing_are_refused(engine):
    with pytest.raises(UserError, match="leave nothing to play: expected pitches of 21 to 109, or drums"):
        grown(engine, Run(OPTIONS, limits=Limits(highest=20, drums=False)), open_remi())


def test_free_pieces_may_do_what_music_does_not(engine):
    from rwkv_music_tokenizers.remi_grammar import RemiGrammar

    def refused(piece: Piece) -> int:
        grammar, count = RemiGrammar(), 0
        for token in piece.made:
            count += not grammar.allowed()[token]
            grammar.follow(token)
        return count

    strict, free = (grown(engine, Run(OPTIONS, max_tokens=100, free=free), open_remi()) for free in (False, True))
    assert refused(strict) == 0 < refused(free)
    assert not {0, 1, 3} & set(free.made)


def test_a_manuscript_is_made_again_from_its_data():
    manuscript = open_remi(PROMPT, Wishes(Header(title="Air")))
    assert manuscript.title == "Air"
    assert manuscript_of("remi", dict(manuscript.plain())) == manuscript
    assert open_again("remi", manuscript.prompt) == RemiManuscript(manuscript.ids)
    for spoiled in ({"prompt": "Pitch_1"}, {"prompt": "Bar_None EOS_None"}, {"prompt": 3}, {"title": 3}):
        with pytest.raises((ValueError, TypeError)):
            RemiManuscript.from_plain({**manuscript.plain(), **spoiled})


def test_a_session_goes_on_from_any_bar(engine):
    session = Session(engine, open_remi(PROMPT), OPTIONS)
    list(session.go_on(Run(OPTIONS, 2, 9000)))
    for bar in range(len(session.bars())):
        session.go_to(1)
        list(session.go_on(Run(OPTIONS, 1, 9000), bar=bar))
        assert session.piece.bars == max(bar, 1)


def test_notes_and_bars_are_seen_as_they_come():
    manuscript = open_remi(PROMPT)
    ids = remi_ids("Bar_None Position_0 Program_0 Pitch_60 Velocity_79 Duration_1.0.8 Program_-1 PitchDrum_36")
    assert "".join(map(manuscript.shown, ids)) == "| C4 x "
    assert manuscript.notes(ids) == 2
    assert RemiManuscript(tuple(ids * 2)).marks() == [1, 9]


@pytest.mark.parametrize("wishes", [Wishes(Header(key="D")), Wishes(Header(tempo="90")), Wishes(instruments="violin")])
def test_wishes_without_a_word_are_refused(wishes):
    with pytest.raises(UserError, match="knows neither key, meter, tempo"):
        open_remi(wishes=wishes)


def test_a_prompt_without_a_note_of_the_vocabulary_is_refused():
    with pytest.raises(UserError, match="no note of the prompt is one of 'remi'"):
        open_remi(Performance((Track(rows([(0, 480, 12, 80)], 4)),), 480))


def test_without_miditok_the_mend_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "miditok", None)
    remi.tokenizer.cache_clear()
    with pytest.raises(UserError, match=r"need MidiTok; mend with: pip install 'rwkv-music\[miditok\]'"):
        open_remi()
    with pytest.raises(UserError, match="need MidiTok"):
        open_again("remi", "Bar_None")
