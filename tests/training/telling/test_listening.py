"""Samples of a run are files that people can read, hear and see."""

import pytest
import torch

from rwkv_music.errors import UserError
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_training.learning.watching import Sample
from rwkv_music_training.telling import listening
from rwkv_music_training.telling.listening import Listener, keep, opening_with

TUNE = "M:4/4\nL:1/4\nK:D\nABcd|edcB|]\n"


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(listening, "LONGEST", 12)


def test_every_opening_is_gone_on_from_at_every_reading(story):
    story.tell(Listener())
    texts = {path.name: path.read_text() for path in (story.folder / "samples").glob("*.abc")}
    assert set(texts) == {f"step-000000{step}-{number}.abc" for step in (2, 4) for number in (1, 2)}
    assert texts["step-0000002-2.abc"].startswith("X:1\nT:step-0000002-2\nM:4/4\nL:1/4\nK:D\nABcd|")
    assert (story.folder / "samples" / "step-0000002-2.mid").is_file()


def test_a_tune_becomes_text_sound_and_picture(tmp_path):
    keep(opening_ids(TUNE), "abc", tmp_path / "one")
    assert (tmp_path / "one.abc").read_text() == f"X:1\nT:one\n{TUNE}"
    assert read_midi((tmp_path / "one.mid").read_bytes()).count == 8
    assert (tmp_path / "one.svg").read_text().startswith("<svg")


def opening_ids(text: str):
    return torch.tensor([2, *text.encode()]).numpy()


def test_a_document_of_notes_becomes_the_same(tmp_path):
    ids = NoteTokenizer().from_text(
        "<bos> <grid> kind:piano meter:4/4 key:C tempo:120 part:0 program:0 bar time:0 pitch:60 length:24 <eos>"
    )
    keep(ids, "notes", tmp_path / "one")
    assert read_midi((tmp_path / "one.mid").read_bytes()).count == 1
    assert "K:C" in (tmp_path / "one.abc").read_text() and (tmp_path / "one.svg").is_file()


def test_what_is_no_music_leaves_only_its_text(tmp_path):
    keep(opening_ids("R:?!\n"), "abc", tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir()] == ["one.abc"]


def test_an_opening_of_unknown_words_is_refused():
    with pytest.raises(UserError, match="habits.prompts: 'pitch:200' is no token"):
        opening_with("notes", "<grid> pitch:200")
    assert opening_with("notes", "<grid> kind:piano").ids[1:] == tuple(NoteTokenizer().from_text("<grid> kind:piano"))


def test_a_code_of_somebody_else_is_not_listened_to(story, tmp_path):
    spec = new_spec(1, 64, 77)
    watcher = Listener()
    event = story.begun()
    watcher.begin(type(event)(**{**vars(event), "spec": spec}))
    model = build_model(spec, initial_weights(spec, torch.Generator().manual_seed(0)), choose_kernels("cpu"))
    watcher.sample(Sample(1, model, State.zeros(spec, 1), tmp_path))
    assert not list(tmp_path.iterdir())
