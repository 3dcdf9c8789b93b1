"""Styles: found by name, mixed, remembered by all that a piece leaves behind, and refused where they are another model's."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rwkv_music import library
from rwkv_music.checkpoint.load import file_hash, save_weights
from rwkv_music.cli import main
from rwkv_music.engine import Engine
from rwkv_music.library import Chosen, ModelNotFoundError, chosen, find_model, find_style, styles_of, user_models
from rwkv_music.making import read_making
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.music import Model
from rwkv_music.sealed import SealedError
from rwkv_music.styles import Style, StyleError, StyleLabel, load_style, read_style_label, save_style

IDS = [5, 9, 2, 6]


def make_model(folder: Path, name: str, tokenizer: str = "abc", version: str = "7", vocabulary: int = 128) -> Path:
    folder.mkdir(parents=True)
    save_weights(dict(RandomWeights(standard_spec(version, 2, 64, vocabulary))), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"name": name, "tokenizer": tokenizer}))
    return folder


def make_style(path: Path, model: Path, seed: int) -> Path:
    """A style that changes much."""
    engine = Engine.open(model)
    shape = engine.spec.blank_memory(1).shape
    memory = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if engine.spec.version == "4":
        memory[:, :, 1] = 1
    else:
        memory *= 50
    label = StyleLabel(
        path.stem, "folk", file_hash(model / "model.safetensors"), engine.spec.version, "abc", {"tunes": 12}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_style(Style(label, memory), path)
    return path


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An embedded model "folk" with the styles "waltzes" and "reels", and an empty folder of the user's."""
    folder = make_model(tmp_path / "embedded" / "folk", "folk")
    monkeypatch.setattr(library, "EMBEDDED", tmp_path / "embedded")
    monkeypatch.setattr(library, "user_models_folder", lambda: tmp_path / "mine")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for seed, name in enumerate(("waltzes", "reels")):
        make_style(folder / "styles" / f"{name}.safetensors", folder, seed)
    return folder


def first_logits(name: str) -> torch.Tensor:
    return Engine.open(name).advance(IDS)[0]


@pytest.mark.parametrize("name", ["folk", "folk+waltzes", "folk+waltzes:0.7+reels:-0.25", "folk+a/b c.safetensors:2"])
def test_a_name_says_a_model_and_its_styles(name):
    assert str(chosen(name)) == name
    assert chosen(name).model == "folk"


def test_weights_are_numbers_within_reason(shelf):
    assert chosen("folk+reels:1e1").styles == (("reels", 10.0),)
    assert chosen("folk+C:\\reels.safetensors").styles == (("C:\\reels.safetensors", 1.0),)
    for name in ("folk+", "folk+reels:nan", "folk+:0.5", "folk++reels", "folk+reels:1e9"):
        with pytest.raises(ModelNotFoundError, match="say NAME or NAME:WEIGHT"):
            chosen(name)


def test_a_path_with_a_plus_is_a_path(shelf, tmp_path):
    folder = make_model(tmp_path / "a+b", "other")
    assert chosen(folder) == Chosen(str(folder))
    assert chosen(f"{folder}+c+d") == Chosen(str(folder), (("c", 1.0), ("d", 1.0)))


def test_styles_lie_beside_the_weights_and_in_the_folder_of_the_user(shelf, tmp_path):
    own = make_style(tmp_path / "mine" / "folk" / "styles" / "jigs.safetensors", shelf, 3)
    files = find_model("folk")
    assert set(styles_of(files)) == {"waltzes", "reels", "jigs"}
    assert find_style("jigs", files) == own
    assert find_style(str(own), files) == own
    with pytest.raises(ModelNotFoundError, match=r"no style 'polkas' for folk: .* \(jigs, reels, waltzes\)"):
        Engine.open("folk+polkas")


def test_a_tuned_model_is_found_by_its_name(shelf, tmp_path):
    mine = make_model(tmp_path / "mine" / "airs", "airs")
    assert user_models() == ["airs"]
    assert find_model("airs").weights == mine / "model.safetensors"
    make_style(mine / "styles" / "slow.safetensors", mine, 4)
    assert not torch.equal(first_logits("airs+slow"), first_logits("airs"))


def test_a_tuned_style_is_found_as_a_model_and_as_a_style(shelf, tmp_path):
    folder = tmp_path / "mine" / "airs"
    make_style(folder / "style.safetensors", shelf, 4)
    (folder / "config.json").write_text(json.dumps({"name": "airs", "tokenizer": "abc", "training": {"base": "folk"}}))
    assert find_model("airs") == find_model("folk")
    assert "airs" in styles_of(find_model("folk"))
    assert torch.equal(first_logits("airs"), first_logits("folk+airs"))
    assert torch.equal(first_logits(str(folder)), first_logits("airs"))
    assert chosen("waltzes") == Chosen("folk", (("waltzes", 1.0),))
    # Another one that cannot be read is in nobody's way.
    make_style(tmp_path / "mine" / "broken" / "style.safetensors", shelf, 5)
    (tmp_path / "mine" / "broken" / "config.json").write_text("{")
    assert "airs" in styles_of(find_model("folk"))


def test_styles_are_weighed_and_added(shelf):
    engines = {name: Engine.open(name) for name in ("folk", "folk+waltzes", "folk+reels", "folk+waltzes:0.5+reels:-2")}
    starts = {name: engine.beginning().wkv for name, engine in engines.items()}
    mixed = 0.5 * starts["folk+waltzes"] - 2 * starts["folk+reels"]
    torch.testing.assert_close(starts["folk+waltzes:0.5+reels:-2"], mixed)
    assert torch.equal(first_logits("folk+waltzes:0"), first_logits("folk"))
    assert not torch.equal(first_logits("folk+waltzes"), first_logits("folk"))
    assert len({engine.hash for engine in engines.values()}) == len(engines)
    both = engines["folk"].styled([("waltzes", 0.5), ("reels", -2)])
    assert both.runner is engines["folk"].runner and both.hash == engines["folk+waltzes:0.5+reels:-2"].hash


def test_a_batch_begins_in_the_style_and_goes_on_from_its_own_state(shelf):
    engine = Engine.open("folk+waltzes")
    logits, state = engine.advance(torch.tensor([IDS, IDS[::-1]]))
    assert torch.equal(logits[0], first_logits("folk+waltzes"))
    plain = Engine.open("folk")
    assert torch.equal(engine.advance([1], state.pick([0]))[0], plain.advance([1], state.pick([0]))[0])


def test_styles_of_rwkv_4_are_sums_added_up(shelf, tmp_path):
    folder = make_model(tmp_path / "four", "four", version="4")
    files = [make_style(tmp_path / f"{seed}.safetensors", folder, seed) for seed in range(2)]
    spec = standard_spec("4", 2, 64, 128)
    mix = Engine.open(f"{folder}+{files[0]}:0.5+{files[1]}:3").beginning().wkv
    one, other = (load_style(path, spec, file_hash(folder / "model.safetensors")).memory for path in files)
    for sum_ in range(2):
        parts = [weight * x[:, :, sum_] * x[:, :, 2].exp() for x, weight in ((one, 0.5), (other, 3))]
        torch.testing.assert_close(mix[:, :, sum_] * mix[:, :, 2].exp(), parts[0] + parts[1])
    with pytest.raises(StyleError, match="less than nothing"):
        Engine.open(f"{folder}+{files[0]}:-1")


def test_a_style_of_another_model_is_refused_in_one_line(shelf, tmp_path, capsys):
    other = make_model(tmp_path / "other", "other", vocabulary=96)
    path = make_style(tmp_path / "foreign.safetensors", other, 1)
    assert main(["generate", "-m", "folk", "--style", str(path), "--bars", "1", "--quiet"]) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r"rwkv-music: the style \S+ was made for folk \(sha256 \w{12}\), .*--model\n", told)


def test_a_damaged_style_is_refused(shelf, tmp_path):
    path = shelf / "styles" / "waltzes.safetensors"
    content, spec, digest = path.read_bytes(), standard_spec("7", 2, 64, 128), file_hash(shelf / "model.safetensors")
    broken = tmp_path / "broken.safetensors"
    for damage in (content[:-4], content[:200], content[:-4] + b"\0\0\xc0\x7f", b"", b"\xff" * 100):
        broken.write_bytes(damage)
        with pytest.raises(SealedError):
            load_style(broken, spec, digest)
    style = load_style(path, spec, digest)
    deep: dict = {}
    for _ in range(600):
        deep = {"a": deep}
    save_style(Style(replace(style.label, made_of=deep), style.memory), broken)
    with pytest.raises(SealedError, match="label"):
        read_style_label(broken)
    for memory, rule in ((style.memory[:1], "holds one tensor"), (style.memory / 0, "finite")):
        save_style(Style(style.label, memory), broken)
        with pytest.raises(StyleError, match=rule):
            load_style(broken, spec, digest)


BARS = ["--bars", "2", "--seed", "1", "--quiet", "--threads", "1"]


def music_of(path: Path) -> str:
    return "".join(line for line in path.read_text().splitlines(True) if not line.startswith("%"))


def generated(*words: str, out: str = "t.abc") -> str:
    assert main(["generate", *words, "-o", out]) == 0
    return music_of(Path(out))


def test_generate_composes_in_a_style(shelf):
    plain = generated("-m", "folk", *BARS, out="plain.abc")
    styled = generated("-m", "folk", "--style", "waltzes", *BARS, out="styled.abc")
    assert styled != plain
    assert generated("--style", "waltzes", *BARS, out="owner.abc") == styled
    assert generated("-m", "folk+waltzes", *BARS, out="named.abc") == styled
    assert generated("-m", "folk", "--style", "waltzes:0", *BARS, out="nothing.abc") == plain
    assert read_making(Path("styled.abc")).model == "folk+waltzes"
    assert generated("--like", "styled.abc", "--quiet", out="again.abc") == styled
    assert generated("--like", "styled.abc", "--quiet", "--style", "waltzes:0", out="other.abc") == plain


def test_takes_sessions_and_states_stay_in_their_style(shelf, capsys):
    style = ("-m", "folk", "--style", "waltzes:0.5", "--style", "reels")
    words = (*style, *BARS)
    assert main(["generate", *words, "-n", "2", "-o", "t.abc", "--save-session", "s.session"]) == 0
    assert main(["generate", *words, "-o", "one.abc", "--save-state", "s.state"]) == 0
    assert music_of(Path("one.abc")) == music_of(Path("t-1.abc"))
    longer = generated(*style, "--bars", "4", *BARS[2:], out="long.abc")
    assert generated("--session", "s.session", "--take", "1", *BARS, out="went.abc") == longer
    assert generated("--state", "s.state", *BARS, out="on.abc") == longer
    capsys.readouterr()
    for where in ("--session", "--state"):
        assert main(["generate", where, "s.session", "--style", "reels"]) == 2
        assert "leave --style out" in capsys.readouterr().err


@pytest.mark.parametrize("language, vocabulary", [("notes", 896), ("midipiano", 2176)])
def test_every_kind_of_music_begins_in_its_style(shelf, tmp_path, language, vocabulary):
    folder = make_model(tmp_path / "other", "other", language, vocabulary=vocabulary)
    make_style(folder / "styles" / "calm.safetensors", folder, 2)
    words = ("--max-tokens", "30", "--seed", "2", "--quiet", "--threads", "1", "-o")
    for name, style in (("plain", ()), ("styled", ("--style", "calm"))):
        assert main(["generate", "-m", str(folder), *style, *words, f"{name}.json"]) == 0
    plain, styled = (json.loads(Path(f"{name}.json").read_text()) for name in ("plain", "styled"))
    assert plain["score"] != styled["score"]


def test_python_opens_a_model_in_its_styles(shelf):
    model = Model.open("folk", style="waltzes", threads=1)
    take = model.generate(bars=2, seed=1)
    assert model.name == "folk+waltzes"
    assert take.abc != Model.open("folk", threads=1).generate(bars=2, seed=1).abc
    assert Model.open("folk", style=["waltzes:0.5", shelf / "styles" / "reels.safetensors"]).name.startswith(
        "folk+waltzes:0.5+/"
    )


def test_list_and_show_tell_of_styles(shelf, tmp_path, capsys):
    make_model(tmp_path / "mine" / "airs", "airs")
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("folk ") and lines[1:3] == ["  + reels", "  + waltzes"]
    assert lines[3].startswith("airs ") and " yours " in lines[3]
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folk"]["styles"] == ["reels", "waltzes"]
    assert main(["models", "show", "folk"]) == 0
    assert "styles: reels, waltzes\n" in capsys.readouterr().out
    assert main(["models", "show", "folk+waltzes"]) == 0
    told = capsys.readouterr().out
    assert '"tunes": 12' in told and read_style_label(shelf / "styles" / "waltzes.safetensors").base_hash in told
