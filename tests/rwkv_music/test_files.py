"""Files: every old encoding is read, and nothing is half written or overwritten unasked."""

import io
import sys
from functools import partial

import pytest

from rwkv_music.files import (
    FileError,
    fresh_paths,
    put_folder,
    read_text,
    refuse_foreign,
    refuse_overwriting,
    refuse_replacing,
    whole_folder,
    write_whole,
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_text_is_read_in_every_encoding_that_tunebooks_use(tmp_path, encoding):
    path = tmp_path / "tune.abc"
    path.write_bytes("T:Ré\nK:G\n".encode(encoding))
    assert read_text(path) == "T:Ré\nK:G\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_a_newline(tmp_path, end):
    path = tmp_path / "tune.abc"
    path.write_bytes(b"X:1" + end + b"K:G" + end)
    assert read_text(path) == "X:1\nK:G\n"


@pytest.mark.parametrize("content", [b"MThd\0\0\0\6", b"\xff\xfe\x00", "T:Ré".encode("utf-32")])
def test_what_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "tune.abc"
    path.write_bytes(content)
    with pytest.raises(FileError, match="tune.abc: not a text file"):
        read_text(path)


def test_text_has_a_limit(tmp_path):
    path = tmp_path / "tune.abc"
    path.write_bytes(b"A" * (256 << 10))
    assert len(read_text(path)) == 256 << 10
    path.write_bytes(b"A" * ((256 << 10) + 1))
    with pytest.raises(FileError, match="more than 256 KiB"):
        read_text(path)


def test_standard_input_is_read_like_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"X:1\r\nK:G\r\n")))
    assert read_text(None) == "X:1\nK:G\n"


def test_a_file_is_written_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "t.abc"
    for content in (b"one", b"two"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "t.abc").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "t.abc", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["t.abc"]


def test_fresh_names_are_free_in_every_format(tmp_path):
    (tmp_path / "tune-1.mid").touch()
    (tmp_path / "tune-3.abc").touch()
    assert [path.name for path in fresh_paths(tmp_path, "tune", [".abc", ".mid"])] == ["tune-2.abc", "tune-2.mid"]


def test_what_exists_is_not_overwritten(tmp_path):
    refuse_overwriting([tmp_path / "t.abc"])
    (tmp_path / "t.abc").touch()
    with pytest.raises(FileError, match="exists; --force"):
        refuse_overwriting([tmp_path / "t.abc"])
    with pytest.raises(FileError, match="there is no folder"):
        refuse_overwriting([tmp_path / "nowhere" / "t.abc"])


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("t.mxl", "", "MusicXML"),
        ("t.MID", "", "MIDI"),
        ("t.json", "", "JSON"),
        ("t.abc", '{"format": "rwkv-music score"}', "JSON"),
        ("t.txt", '<?xml version="1.0"?>\n<score-partwise>', "XML"),
    ],
)
def test_what_is_no_abc_is_refused_by_its_name_or_its_beginning(name, text, kind):
    with pytest.raises(FileError, match=f"{name}: {kind}.*not ABC"):
        refuse_foreign(text, name)


@pytest.mark.parametrize("text", ["X:1\nK:G\n", '"Am"A', '["Am"CEG]', '{"x"g}A2|', "{g}A|", "% json", ""])
def test_abc_is_not_taken_for_something_else(text):
    refuse_foreign(text, "t.abc")


def test_a_failing_write_names_the_file_that_was_meant(tmp_path):
    (tmp_path / "t.abc").mkdir()
    with pytest.raises(OSError) as failed:
        write_whole(tmp_path / "t.abc", b"one")
    assert failed.value.filename == str(tmp_path / "t.abc")


def test_a_folder_is_never_overwritten(tmp_path):
    for force in (False, True):
        with pytest.raises(FileError, match="is a folder; name a file"):
            refuse_overwriting([tmp_path], force=force)


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    folder = tmp_path / "made"
    with whole_folder(folder) as aside:
        (aside / "one").write_text("1")
    with pytest.raises(OSError, match="full"), whole_folder(folder) as aside:
        (aside / "two").write_text("2")
        raise OSError("full")
    assert [path.name for path in folder.iterdir()] == ["one"]
    with whole_folder(folder) as aside:
        (aside / "three").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["three"] and list(tmp_path.iterdir()) == [folder]


def test_where_a_folder_cannot_be_put_the_old_one_stays(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "dear").touch()
    with pytest.raises(OSError):
        put_folder(tmp_path / "never made", old)
    assert list(tmp_path.iterdir()) == [old] and (old / "dear").exists()


def test_a_link_is_replaced_and_not_what_it_leads_to(tmp_path):
    for name in ("old", "made"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "old")
    put_folder(tmp_path / "made", tmp_path / "link")
    assert (tmp_path / "old").is_dir() and not (tmp_path / "link").is_symlink()


def test_only_what_the_command_makes_is_replaced(tmp_path):
    made = tmp_path / "made"
    check = partial(refuse_replacing, made, "a corpus", ["manifest.json"])
    check()
    made.mkdir()
    check(force=True)
    with pytest.raises(FileError, match="exists; --force"):
        check()
    (made / "waltz.abc").touch()
    with pytest.raises(FileError, match="is not a corpus"):
        check(force=True)
    (made / "manifest.json").touch()
    check([tmp_path / "music"], force=True)
    for read in (made, made / "waltz.abc", tmp_path):
        with pytest.raises(FileError, match="which is read"):
            check([read], force=True)
