"""Files by suffix: written whole or not at all, and they remember how they were made."""

import subprocess
import sys
from pathlib import Path

import pytest

from rwkv_music.render.options import RenderOptions
from rwkv_music.render.plain import read_json
from rwkv_music.render.save import SUFFIXES, SaveError, find_writer, save, save_score
from rwkv_music_tokenizers.abc_reader import read_abc

ABC = "X:1\nT:Tune\nM:4/4\nL:1/4\nQ:1/4=300\nK:C\nCDEF|]\n"
REMARK = 'rwkv-music {"seed": 7}'


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".abc", b"X:1"),
        (".mid", b"MThd"),
        (".midi", b"MThd"),
        (".wav", b"RIFF"),
        (".svg", b"<svg"),
        (".musicxml", b"<?xml"),
        (".xml", b"<?xml"),
        (".json", b"{"),
        (".ABC", b"X:1"),
    ],
)
def test_the_suffix_chooses_the_format_and_every_format_keeps_remarks(tmp_path: Path, suffix: str, start: bytes):
    path = tmp_path / f"tune{suffix}"
    save(read_abc(ABC), path, remarks=[REMARK])
    content = path.read_bytes()
    assert content.startswith(start)
    assert REMARK.encode() in content or REMARK.replace('"', '\\"').encode() in content
    assert list(tmp_path.iterdir()) == [path]


def test_there_is_a_writer_for_every_suffix():
    assert {callable(find_writer(Path(f"x{suffix}"))) for suffix in SUFFIXES} == {True}


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path):
    with pytest.raises(SaveError, match=r"\.abc, \.mid, .*\.json"):
        save(read_abc(ABC), tmp_path / "tune.mp3")


def test_a_file_is_overwritten_only_with_force(tmp_path: Path):
    path = tmp_path / "tune.abc"
    path.write_text("mine")
    with pytest.raises(SaveError, match="exists"):
        save(read_abc(ABC), path)
    assert path.read_text() == "mine"
    save(read_abc(ABC), path, force=True)
    assert path.read_text().startswith("X:1")
    save_score(read_abc(ABC), path)


def test_the_folder_must_be_there(tmp_path: Path):
    with pytest.raises(SaveError, match="no folder"):
        save(read_abc(ABC), tmp_path / "nowhere" / "tune.abc")


def test_a_folder_is_never_overwritten(tmp_path: Path):
    (tmp_path / "tune.abc").mkdir()
    with pytest.raises(SaveError, match="exists"):
        save(read_abc(ABC), tmp_path / "tune.abc", force=True)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        save(read_abc(ABC), tmp_path / "tune.mid")
    assert list(tmp_path.iterdir()) == []


def test_text_given_is_kept_as_it_is_with_the_remarks_behind_its_header(tmp_path: Path):
    path = tmp_path / "tune.abc"
    text = "M:4/4\nL:1/4\nK:C\n  CDEF |]"
    save(read_abc(text), path, abc_text=text, remarks=["one", "two\nlines"])
    assert path.read_text() == "X:1\nM:4/4\nL:1/4\nK:C\n% one\n% two\n% lines\n  CDEF |]\n"


def test_what_is_saved_reads_back(tmp_path: Path):
    score = read_abc(ABC)
    save(score, tmp_path / "tune.json", remarks=[REMARK])
    save(score, tmp_path / "tune.abc", remarks=[REMARK])
    assert read_json((tmp_path / "tune.json").read_text()) == (score, (REMARK,))
    assert read_abc((tmp_path / "tune.abc").read_text()) == score


def test_options_reach_the_file(tmp_path: Path):
    score = read_abc(ABC.replace("CDEF", '"C"CDEF'))
    save(score, tmp_path / "with.mid")
    save(score, tmp_path / "without.mid", options=RenderOptions(accompaniment=False))
    assert b"Chords" in (tmp_path / "with.mid").read_bytes()
    assert b"Chords" not in (tmp_path / "without.mid").read_bytes()


def test_saving_imports_no_heavy_library_before_it_is_needed():
    program = "import sys, rwkv_music.render.save; print({'music21', 'verovio', 'midirenderer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
