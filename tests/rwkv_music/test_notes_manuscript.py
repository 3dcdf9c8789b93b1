"""Pieces in notes: a prompt is heard as it is, bars are those that were asked for, wishes stand in the header."""

import pytest
import torch

from rwkv_music.checkpoint.load import save_weights
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.manuscripts.notes import NotesManuscript
from rwkv_music.manuscripts.open_notes import first_bars, open_notes
from rwkv_music.manuscripts.wishes import Wishes
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.opening import Header
from rwkv_music.sampling import SamplingOptions
from rwkv_music.session import Session
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, Track, rows

OPTIONS = SamplingOptions(temperature=1.0, top_p=1.0, seed=3)
# Two bars of 3/4: a quarter has 100 ticks.
NOTES = [(0, 100, 60, 80), (100, 200, 62, 80), (200, 300, 64, 80), (300, 600, 67, 80)]
WALTZ = Performance((Track(rows(NOTES, 4), 73),), 100, meters=rows([(0, 3, 4)], 3), keys=rows([(0, 0, 0)], 3))


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    """A random RWKV-7 that speaks `notes`."""
    generator = torch.Generator().manual_seed(0)
    weights = initial_weights(new_spec(1, 64, 896), generator)
    noisy = {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    path = tmp_path_factory.mktemp("models") / "notes.safetensors"
    save_weights(noisy, path)
    torch.set_num_threads(1)
    return Engine.open(path)


def grown(engine: Engine, run: Run, manuscript: NotesManuscript) -> Piece:
    piece = Piece.begin(engine, manuscript, OPTIONS)
    for _ in piece.grow(run):
        pass
    return piece


def test_the_prompt_stands_at_the_start_and_bars_are_counted_behind_it(engine):
    piece = grown(engine, Run(OPTIONS, 3, 5000), open_notes(WALTZ))
    played = piece.work().performance
    assert played.meters.tolist()[0] == [0, 3, 4]
    before = played.tracks[0].notes[played.tracks[0].notes[:, START] < 2 * 3 * played.ticks]
    beats = [[a * played.ticks // 100, b * played.ticks // 100, p] for a, b, p, _ in NOTES]
    assert [row[:3] for row in before.tolist()[:4]] == beats
    assert piece.bars == 3


def test_bars_in_two_goes_are_the_bars_of_one(engine):
    whole = grown(engine, Run(OPTIONS, 4, 9000), open_notes(WALTZ))
    piece = grown(engine, Run(OPTIONS, 1, 9000), open_notes(WALTZ))
    list(piece.grow(Run(OPTIONS, 3, 9000)))
    assert piece.memory.tokens == whole.memory.tokens


def test_no_note_overlaps_another_and_the_piece_is_brought_to_its_end(engine):
    for seed in range(3):
        run = Run(SamplingOptions(top_p=1.0, seed=seed), 2, 3000, close=True)
        piece = grown(engine, run, open_notes(wishes=Wishes(instruments="violin,cello,drums")))
        assert piece.ended
        assert piece.bars == 2
        for track in piece.work().performance.tracks:
            for pitch in set(track.notes[:, PITCH].tolist()):
                own = track.notes[track.notes[:, PITCH] == pitch]
                assert (own[1:, START] >= own[:-1, END]).all()


def test_wishes_stand_in_the_header():
    header = Header(key="Am", meter="6/8", tempo="96")
    words = open_notes(wishes=Wishes(header, "strings")).prompt.split()
    assert words[:6] == ["<bos>", "<grid>", "kind:strings", "meter:6/8", "key:Am", "tempo:96"]
    assert [word for word in words if word.startswith("program")] == [f"program:{n}" for n in (40, 40, 41, 42)]


def test_wishes_go_before_what_a_prompt_says():
    words = open_notes(WALTZ, Wishes(Header(key="G", tempo="60"))).prompt.split()
    assert words[3:6] == ["meter:3/4", "key:G", "tempo:60"]


def test_the_only_instruments_are_there_to_play(engine):
    limits = Limits(programs=frozenset((40,)), drums=False)
    piece = grown(engine, Run(OPTIONS, 12, 3000, limits=limits), open_notes(WALTZ, Wishes(only="violin")))
    flute, violin = piece.work().performance.tracks
    assert (flute.program, violin.program) == (73, 40)
    assert len(flute.notes) == 4 and len(violin.notes) > 0


@pytest.mark.parametrize("header", [Header(rhythm="jig"), Header(unit="1/8")])
def test_fields_of_abc_are_refused(header):
    with pytest.raises(UserError, match="fields of ABC"):
        open_notes(wishes=Wishes(header))


def test_the_first_bars_of_a_prompt_end_their_notes():
    cut = first_bars(WALTZ, 1)
    assert cut.tracks[0].notes[:, PITCH].tolist() == [60, 62, 64] and cut.end == 300
    changing = Performance((Track(rows([(0, 900, 60, 80)], 4)),), 100, meters=rows([(0, 3, 4), (300, 4, 4)], 3))
    assert first_bars(changing, 2).end == 700


def test_limits_hold_for_what_is_new(engine):
    limits = Limits(lowest=60, highest=72, classes=frozenset((0, 2, 4, 5, 7, 9, 11)), programs=frozenset((73,)))
    piece = grown(engine, Run(OPTIONS, 3, 3000, limits=limits), open_notes(WALTZ))
    (track,) = piece.work().performance.tracks
    assert len(track.notes) > 4 and track.program == 73
    new = track.notes[4:, PITCH]
    assert new.min() >= 60 and new.max() <= 72 and set((new % 12).tolist()) <= {0, 2, 4, 5, 7, 9, 11}


def test_a_manuscript_is_made_again_from_its_data():
    manuscript = open_notes(WALTZ)
    assert NotesManuscript.from_plain(dict(manuscript.plain())) == manuscript
    for prompt in ("", "pitch:60", "<bos> nonsense", "<bos> <grid> <eos>"):
        with pytest.raises((ValueError, TypeError)):
            NotesManuscript.from_plain({"prompt": prompt, "title": ""})


def test_a_session_goes_on_from_any_bar(engine):
    session = Session(engine, open_notes(WALTZ), OPTIONS)
    list(session.go_on(Run(OPTIONS, 4, 9000)))
    # Behind the prompt, at the end of the bar that it is in, and behind each of the four bars.
    assert len(session.bars()) == 6
    for bar in range(6):
        session.go_to(1)
        list(session.go_on(Run(OPTIONS, 1, 9000), bar=bar))
        assert session.piece.bars == max(bar, 1)
