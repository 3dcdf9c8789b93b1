"""The face for programs and notebooks: prompts of every form, takes in every form, trees of takes, events, pages."""

import base64
import io
import re
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import find_making
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.music import Bar, Done, Limits, Model, Take, Token, read_limits
from rwkv_music.music.page import MOST_SECONDS, beginning, smaller
from rwkv_music.music.roll import MOST_NOTES, roll
from rwkv_music.music.take import PlayedNote
from rwkv_music.render.soundfonts import VARIABLE
from rwkv_music.sealed import SealedError
from rwkv_music.snapshots import load_snapshot
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows

TUNE = "X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\nGABc dedB|\n"
SCRIPT = "GABc d4|edBA G4|c2BA BGAF|G8|]\n"


@pytest.fixture
def model(scripted) -> Model:
    """A model that writes four bars, and their end."""
    return Model(scripted(SCRIPT), "scripted")


@pytest.fixture(scope="module")
def tiny(tiny_engine) -> Model:
    """A random model of tunes."""
    return Model(tiny_engine, "tiny")


@pytest.fixture(scope="module")
def player(tmp_path_factory) -> Model:
    """A random model of notes."""
    from rwkv_music.checkpoint.load import save_weights

    path = tmp_path_factory.mktemp("models") / "notes.safetensors"
    save_weights(initial_weights(new_spec(1, 64, 896), torch.Generator().manual_seed(0)), path)
    return Model(Engine.open(path), "notes", threads=1)


def test_a_take_is_a_whole_piece_in_every_form(model):
    take = model.generate(TUNE, seed=7)
    assert take.ended and take.seed == 7 and take.bars == 4
    assert take.text.endswith(SCRIPT) and take.abc.startswith("X:1\nT:A Tune\n") and take.abc.endswith("|]\n")
    assert take.score.title == "A Tune"
    assert read_midi(take.midi).count == len(take.notes) == 8 + 5 + 5 + 7 + 1
    assert find_making(take.midi) == take.making and take.making.model == "scripted"
    assert take.tokens[-1] == ord("\n") and take.state.wkv.shape[-1] == 1
    assert repr(take) == "Take(number=1, ended=True, bars=4.0)"


def test_notes_are_rows_in_seconds(model):
    first, second, *_ = model.generate("X:1\nL:1/4\nQ:1/4=120\nM:4/4\nK:C\nC D E F|", bars=1).notes
    assert first == PlayedNote(0.0, 0.5, 60, first.velocity, 0, False)
    assert (second.start_s, second.pitch) == (0.5, 62)
    assert first._fields == ("start_s", "end_s", "pitch", "velocity", "program", "drums")


def test_every_form_of_a_prompt_is_heard(model, tmp_path):
    path = tmp_path / "tune.abc"
    path.write_text(TUNE)
    heard = model.generate(TUNE).text
    assert [model.generate(prompt).text for prompt in (path, str(path), read_abc(TUNE))] == [heard] * 3
    made = model.generate(TUNE, bars=1)
    assert model.generate(made, bars=1).text.startswith("X:1\nT:A Tune\nM:4/4\nL:1/8\nK:G\nGABc dedB|")
    played = made.performance
    assert all("K:" in model.generate(prompt, bars=1).text for prompt in (played, made.midi))


def test_settings_of_the_beginning_are_those_of_the_header(model):
    take = model.generate(key="Am", meter="6/8", rhythm="jig", tempo=96, title="New")
    assert all(field in take.abc for field in ("K:Am", "M:6/8", "R:jig", "T:New", "Q:1/4=96"))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (None, {"bars": -1}),
        (None, {"seconds": 0}),
        (None, {"seconds": float("inf")}),
        (None, {"max_tokens": -1}),
        (None, {"temperature": -1}),
        (None, {"seed": -1}),
        (None, {"takes": 0}),
        (None, {"key": "H#"}),
        (None, {"tune": 2}),
        (None, {"instruments": "piano"}),
        (TUNE, {"prompt_bars": 0}),
        ("-", {}),
        ("none.abc", {}),
        (Path("none"), {}),
        (b"no midi", {}),
        ("words and words", {}),
    ],
)
def test_what_is_no_setting_or_prompt_is_a_value_error(model, prompt, said):
    with pytest.raises(ValueError):
        model.generate(prompt, **said)


def test_settings_are_known_by_name(model):
    with pytest.raises(TypeError, match="no setting is called temprature"):
        model.generate(temprature=1)
    with pytest.raises(TypeError, match="no setting is called key"):
        model.session(TUNE).go_on(key="D")


def test_the_same_seed_makes_the_same_take_and_takes_have_the_next_seeds(tiny):
    takes = tiny.generate(TUNE, takes=3, bars=2, seed=5)
    assert [take.seed for take in takes] == [5, 6, 7]
    assert len({take.text for take in takes}) == 3
    assert tiny.generate(TUNE, bars=2, seed=6).text == takes[1].text
    assert tiny.generate(TUNE, bars=2).seed != tiny.generate(TUNE, bars=2).seed


def test_threads_are_left_as_they_were(tiny_engine):
    before = torch.get_num_threads()
    model = Model(tiny_engine, "tiny", threads=before + 1)
    take = model.generate(TUNE, bars=1)
    events = model.stream(TUNE, bars=1)
    next(events)
    assert torch.get_num_threads() == before and take.making.threads == before + 1


def test_limits_keep_new_notes_in_their_range_and_scale(player):
    limits = read_limits("C5-C6", "G", drums=False)
    assert limits == Limits(72, 84, frozenset({7, 9, 11, 0, 2, 4, 6}), drums=False)
    take = player.generate(instruments="piano", bars=6, seed=3, limits=limits)
    assert take.notes
    assert all(72 <= note.pitch <= 84 and note.pitch % 12 in limits.classes for note in take.notes)


def test_a_stream_tells_tokens_and_bars_and_then_the_take(tiny):
    events = list(tiny.stream(TUNE, bars=3, seed=2))
    take = tiny.generate(TUNE, bars=3, seed=2)
    *others, done = events
    assert isinstance(done, Done) and done.take.text == take.text
    assert take.text.endswith("".join(event.text for event in others if isinstance(event, Token)))
    bars = [event.number for event in others if isinstance(event, Bar)]
    assert bars == list(range(1, len(bars) + 1)) and len(bars) >= 3


def test_a_stream_that_is_left_keeps_what_was_made(tiny):
    session = tiny.session(TUNE, seed=2)
    events = session.stream(bars=50)
    written = [next(events) for _ in range(10)]
    events.close()
    assert session.take.text.endswith("".join(event.text for event in written if isinstance(event, Token)))
    assert session.take.making.runs[-1].cut == len([event for event in written if isinstance(event, Token)])


def test_going_on_twice_is_going_on_once(tiny):
    session = tiny.session(TUNE, seed=4, temperature=0.8)
    first, second = session.go_on(bars=2), session.go_on(bars=2)
    assert second.text == tiny.generate(TUNE, bars=4, seed=4, temperature=0.8).text
    assert second.text.startswith(first.text) and session.path == [0, 1, 2] and len(session) == 2
    assert second.making.runs[-1].options.temperature == 0.8


def test_a_second_try_takes_the_next_seed(tiny):
    session = tiny.session(TUNE, seed=4)
    first = session.go_on(bars=2)
    assert session.undo() and not session.undo()
    second = session.go_on(bars=2)
    assert (first.seed, second.seed) == (4, 5) and first.text != second.text
    session.go_to(0)
    assert [take.seed for take in session.go_on(takes=2, bars=1)] == [6, 7]
    session.go_to(first)
    assert session.take.text == first.text and session.go_on(bars=1, seed=4).seed == 4


def test_a_session_goes_on_from_any_bar(tiny):
    session = tiny.session(TUNE, seed=4)
    whole = session.go_on(bars=4)
    assert session.bars >= 4
    again = session.go_on(bar=2, bars=1, seed=9)
    kept = len(session.takes[0].tokens) + again.making.runs[0].cut
    assert again.tokens[:kept] == whole.tokens[:kept] and again.tokens[kept:] != whole.tokens[kept:]
    assert whole.text[: len(again.text) - (len(again.tokens) - kept)].count("|") == TUNE.count("|") + 2
    with pytest.raises(ValueError, match="bar must be 0 to"):
        session.go_on(bar=99)


def test_lines_end_without_a_bar_line_of_their_own(scripted):
    session = Model(scripted("GABc d4|\nedBA G4||\nc2BA BGAF|:G8|"), "scripted").session(TUNE)
    session.go_on(bars=4)
    assert session.bars == 4


def test_a_branch_leaves_the_tree_as_it_was(tiny):
    session = tiny.session(TUNE, seed=1)
    session.go_on(bars=1)
    other = session.branch()
    other.go_on(bars=1)
    assert (len(session), len(other)) == (1, 2) and session.takes[1].text == other.takes[1].text
    assert session.redo() is False and other.undo() and other.redo()


def test_states_and_sessions_go_on_where_they_stopped(tiny, tmp_path):
    session = tiny.session(TUNE, seed=1)
    take = session.go_on(bars=2)
    whole = session.branch().go_on(bars=2).text
    renamed = take.save(tmp_path / "s.rwkvstate").rename(tmp_path / "s")
    for path in (take.save(tmp_path / "t.rwkvstate"), renamed, session.save(tmp_path / "t.rwkvsession")):
        assert tiny.load(path).go_on(bars=2).text == whole
    label = load_snapshot(tmp_path / "t.rwkvstate", spec=tiny.engine.spec, model_hash=tiny.engine.hash).label
    assert (label.model, label.story["dtype"]) == ("tiny", "float32")
    with pytest.raises(ValueError, match="overwrite=True"):
        session.save(tmp_path / "t.rwkvsession")
    (tmp_path / "other").write_bytes(b"none of ours")
    with pytest.raises(SealedError):
        tiny.load(tmp_path / "other")


def test_a_take_is_saved_by_suffix_and_overwrites_only_when_told(model, tmp_path):
    take = model.generate(TUNE, seed=7)
    for suffix in (".abc", ".mid", ".json", ".wav"):
        path = take.save(tmp_path / f"t{suffix}")
        assert find_making(path.read_bytes()) == take.making
    assert (tmp_path / "t.mid").read_bytes() == take.midi
    with pytest.raises(UserError, match=r"t.abc exists; overwrite=True"):
        take.save(tmp_path / "t.abc")
    assert take.save(str(tmp_path / "t.abc"), overwrite=True).read_text().startswith(take.abc)
    with pytest.raises(UserError, match="suffix"):
        take.save(tmp_path / "t.doc")
    with pytest.raises(UserError, match="no folder"):
        take.save(tmp_path / "none" / "t.abc")


def test_a_verdict_counts_the_notes_of_any_piece(tiny):
    verdict = tiny.score(TUNE)
    assert verdict.notes == 8 and verdict.bits > 0
    assert tiny.score(read_abc(TUNE)).notes == 8


def test_models_of_notes_play_instruments(player):
    take = player.generate(instruments="violin,drums", key="D", meter="3/4", bars=2, seed=1, max_tokens=300)
    assert {(note.program, note.drums) for note in take.notes} <= {(40, False), (0, True)}
    went_on = player.generate(take.midi, bars=1, seed=2, max_tokens=200, limits=Limits(drums=False))
    assert len(went_on.notes) >= len(take.notes) and isinstance(went_on.state.wkv, torch.Tensor)
    assert player.generate(TUNE, bars=1, max_tokens=100).notes[0].pitch == 67


def shown(model: Model, title: str) -> str:
    return model.generate(TUNE.replace("A Tune", title), seed=7)._repr_html_()


def test_a_page_holds_roll_and_sound_and_asks_for_nothing(model):
    page = shown(model, "A Tune")
    assert page.count("<svg") == page.count("</svg>") == 1 and "<b>A Tune</b> · 4 new bars · seed 7" in page
    sources = re.findall(r'(?:src|href)="(.{0,22})', page)
    assert sources == ["data:audio/wav;base64,"]
    assert re.findall(r"https?://[^\" ]*", page) == ["http://www.w3.org/2000/svg"]
    with wave.open(io.BytesIO(base64.b64decode(re.findall(r'base64,(.*?)"', page)[0]))) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, 24000)
        assert sound.getnframes() / 24000 > 8 and np.any(np.frombuffer(sound.readframes(10**6), "<i2"))


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "</div></svg><h1>", "&lt;b&gt;"]
)
def test_a_title_is_text_whatever_it_says(model, title):
    page = shown(model, title)
    tags = re.findall(r"<\s*/?\s*([a-z0-9]+)", page)
    assert set(tags) == {"div", "b", "svg", "path", "text", "span", "audio"}
    assert "onerror=y>" not in page


def test_the_name_of_a_model_is_text_too(scripted):
    assert "<i>" not in Model(scripted(SCRIPT), "<i>").generate(TUNE)._repr_html_()


def test_a_page_without_a_soundfont_shows_the_roll_and_says_why(model, monkeypatch):
    monkeypatch.setenv(VARIABLE, "/none/<x>.sf2")
    page = shown(model, "A Tune")
    assert "<svg" in page and "<audio" not in page and "No sound: /none/&lt;x&gt;.sf2" in page


def test_a_long_piece_sounds_in_part_and_says_so(model):
    page = model.generate("X:1\nL:1/1\nM:4/4\nQ:1/4=60\nK:C\n" + "C|" * 40, bars=1)._repr_html_()
    assert f"The first {MOST_SECONDS} of 164 seconds sound" in page
    assert len(page) < 5_000_000


def test_a_tune_without_notes_is_told_in_words(scripted):
    page = Model(scripted("z8|"), "scripted").generate("X:1\nL:1/8\nM:4/4\nK:C\nz8|", bars=1)._repr_html_()
    assert "No note sounds in it." in page and "<svg" not in page


def test_the_beginning_of_a_performance_ends_its_notes():
    played = Performance((Track(rows([(0, 960, 60, 80), (480, 4800, 64, 80), (1920, 2400, 67, 80)], 4)),), 480)
    cut = beginning(played, 1.5)
    assert cut.end == 1440 and cut.count == 2 and cut.tracks[0].notes[1].tolist() == [480, 1440, 64, 80]


def test_a_roll_of_very_many_notes_stays_small():
    notes = [PlayedNote(i / 100, i / 100 + 0.05, 30 + i % 60, 80, i % 5, False) for i in range(2 * MOST_NOTES)]
    drawn = roll(notes)
    assert drawn.count("z") - drawn.count("size") == MOST_NOTES + drawn.count("horizontal")
    assert len(drawn) < 1_000_000


def test_sound_is_a_quarter_of_its_size():
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(44100)
        sound.writeframes(np.array([[0, 4], [8, 12], [100, 100], [100, 104], [7, 7]], "<i2").tobytes())
    with wave.open(io.BytesIO(smaller(stream.getvalue()))) as sound:
        assert sound.getframerate() == 22050 and sound.getnchannels() == 1
        assert np.frombuffer(sound.readframes(9), "<i2").tolist() == [6, 101]


def test_the_embedded_model_makes_a_tune_from_its_name():
    model = Model.open("abc-folk")
    take = model.generate(key="D", meter="6/8", rhythm="jig", bars=2, seed=1)
    assert isinstance(take, Take) and take.bars == 2 and take.score.key.fifths == 2
    assert take.score.meter.bar == 3
    assert repr(model) == "<Model abc-folk: abc, cpu, float32>"
