"""Which soundfont is taken."""

from pathlib import Path

import pytest

from rwkv_music.render import soundfonts
from rwkv_music.render.errors import SoundfontError
from rwkv_music.render.soundfonts import find_soundfont


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any soundfont; the folder for the user's own."""
    monkeypatch.delenv(soundfonts.VARIABLE, raising=False)
    monkeypatch.setattr(soundfonts, "SYSTEM_FOLDERS", (tmp_path / "system",))
    monkeypatch.setattr(soundfonts, "CARRIER", "no_such_package_here")
    monkeypatch.setattr(soundfonts, "user_folder", lambda: tmp_path / "user")
    return tmp_path


def font(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF\0\0\0\0sfbk")
    return path


def test_the_one_asked_for_is_taken(bare: Path):
    asked = font(bare / "mine.sf2")
    font(bare / "user" / "other.sf2")
    assert find_soundfont(asked) == asked


def test_then_the_environment_the_user_and_the_system(bare: Path, monkeypatch: pytest.MonkeyPatch):
    system = font(bare / "system" / "b.sf2")
    assert find_soundfont() == system
    default = font(bare / "system" / "default-GM.sf2")
    assert find_soundfont() == default
    user = font(bare / "user" / "z.sf2")
    assert find_soundfont() == user
    named = font(bare / "named.sf2")
    monkeypatch.setenv(soundfonts.VARIABLE, str(named))
    assert find_soundfont() == named


def test_a_package_that_carries_one_is_the_last_resort(bare: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(soundfonts, "CARRIER", "pretty_midi")
    assert find_soundfont().suffix == ".sf2"


def test_none_at_all_is_an_error_that_says_what_to_install(bare: Path):
    with pytest.raises(SoundfontError, match="pip install pretty_midi"):
        find_soundfont()


@pytest.mark.parametrize("name", ["missing.sf2", "compressed.sf3", "text.sf2"])
def test_one_that_cannot_be_used_is_refused_not_passed_over(bare: Path, name: str):
    font(bare / "user" / "good.sf2")
    (bare / "compressed.sf3").write_bytes(b"RIFF")
    (bare / "text.sf2").write_text("no font")
    with pytest.raises(SoundfontError, match=name):
        find_soundfont(bare / name)
