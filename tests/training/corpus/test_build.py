"""A corpus holds every good file once, whole and in order, and says of every other why it is not there."""

import filecmp
import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rwkv_music.cli import main
from rwkv_music.files import FileError
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer, training_text
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.build import build, here
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.preparing import Preparation
from rwkv_music_training.corpus.reading import Taking
from rwkv_music_training.corpus.recipe import Recipe
from rwkv_music_training.corpus.sharing import SPLITS, Sharing

ABC = Recipe(preparation=Preparation("abc"))


def same_files(one: Path, other: Path) -> bool:
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*")) for root in (one, other)]
    files = [name for name in names[0] if (one / name).is_file()]
    return names[0] == names[1] and filecmp.cmpfiles(one, other, files, shallow=False)[0] == files


def documents(corpus: Corpus) -> dict[str, np.ndarray]:
    splits = [corpus.split(name) for name in SPLITS]
    return {name.split("/")[-1]: split.read(n) for split in splits for n, name in enumerate(split.column("name"))}


def test_documents_are_the_encoded_pieces(corpus, make_piece):
    found = documents(corpus)
    assert len(found) == 23 and "09.mid" not in found
    for name, ids in found.items():
        assert np.array_equal(ids, NoteTokenizer().encode(make_piece(int(name[:2]))))


def test_a_split_tells_what_is_known_of_its_documents(corpus):
    train = corpus.split("train")
    names = train.column("name")
    assert names == sorted(names) and len(names) == len(train) == corpus.manifest.count("train")
    assert train.lengths.tolist() == [len(train.read(number)) for number in range(len(train))]
    assert train.sources.tolist() == [("songs", "dances")[int(name[-6:-4]) % 2] for name in names]
    assert set(train.notes.tolist()) == {60} and train.seconds == pytest.approx(47 / 4 + 230 / 960, abs=0.3)
    assert train.column("title")[0] == f"No. {int(names[0][-6:-4])}"
    assert corpus.split("valid").lengths.size > 0


def test_titles_and_names_of_files_are_in_the_tables_only(corpus):
    told = b"".join(path.read_bytes() for path in corpus.folder.rglob("*") if path.suffix in (".json", ".bin", ".npy"))
    assert b"No. 1" not in told and b".mid" not in told


def test_a_folder_and_its_archive_hold_the_same_documents(collection, corpus, pack, tmp_path):
    packed = build([pack(collection, tmp_path / "x.tar.zst")], tmp_path / "out", Recipe(), here(1))
    for split in SPLITS:
        for name in ("tokens-00000.bin", "documents-00000.npy"):
            assert (packed.folder / split / name).read_bytes() == (corpus.folder / split / name).read_bytes()


def test_the_same_recipe_gives_the_same_bytes_with_any_number_of_processes(collection, corpus, tmp_path):
    again = build([collection], tmp_path / "again", Recipe(), here(1))
    assert same_files(corpus.folder, again.folder)


def test_a_tenth_of_good_files_among_all_kinds_of_broken_ones_is_all_that_is_kept(make_piece, make_tune, tmp_path):
    noise = random.Random(1)
    music = tmp_path / "music"
    music.mkdir()
    for number in range(14):
        (music / f"good-{number:02d}.mid").write_bytes(write_performance(make_piece(number)))
    whole = write_performance(make_piece(50))
    (music / "cut.mid").write_bytes(whole[:60])
    (music / "noise.mid").write_bytes(b"MThd" + noise.randbytes(300))
    (music / "empty.mid").write_bytes(b"")
    (music / "large.mid").write_bytes(bytes(20_001))
    (music / "short.abc").write_text("X:1\nL:1/8\nM:4/4\nK:C\nCDEF|\n")
    (music / "wrong.abc").write_text(make_tune(3).replace("|", "C|"))
    (music / "bomb.zip").write_bytes(b"PK\3\4 and no more")
    os.symlink("nowhere", music / "gone.mid")
    (music / "words.txt").write_text("no music")
    corpus = build([music], tmp_path / "out", Recipe(Taking(most_bytes=20_000)), here(2))
    assert sorted(documents(corpus)) == [f"good-{number:02d}.mid" for number in range(14)]
    reasons = {row["name"].split("/")[1]: row["reason"] for row in corpus.rejects().to_pylist()}
    assert reasons == {
        "cut.mid": items.NOT_READABLE,
        "noise.mid": items.NOT_READABLE,
        "empty.mid": items.NOT_READABLE,
        "large.mid": items.TOO_LARGE,
        "short.abc": items.TOO_SHORT,
        "wrong.abc": items.WRONG_BARS,
        "bomb.zip": items.BROKEN_ARCHIVE,
        "gone.mid": items.NOT_THERE,
        "words.txt": items.OTHER_KIND,
    }
    manifest = corpus.manifest
    assert manifest.found == 23 and manifest.kept == 14 and sum(manifest.left_out.values()) == 9


def test_tunes_come_from_lines_books_and_archives(tunebook, make_tune, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(tunebook, tmp_path / "in")
    (tmp_path / "in" / "book.abc").write_text("\n".join(make_tune(number) for number in (50, 51)))
    with zipfile.ZipFile(tmp_path / "in" / "more.zip", "w") as archive:
        archive.writestr("deep/in/it.abc", make_tune(52))
    corpus = build([tmp_path / "in"], tmp_path / "out", ABC, here(1))
    found = documents(corpus)
    assert len(found) == 33 and {"book.abc#1", "book.abc#2", "it.abc", "tune-29"} <= set(found)
    text = AbcTokenizer().decode(found["book.abc#2"].tolist())
    assert text == training_text(make_tune(51)) and "made up" not in text
    assert {told["source"] for told in corpus.table("train").to_pylist()} <= {"book", "in", "more"}


def test_a_damaged_file_in_an_archive_is_lost_alone(make_tune, tmp_path):
    packed = tmp_path / "some.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.abc", make_tune(number))
    packed.write_bytes(packed.read_bytes().replace(make_tune(1).encode(), make_tune(1, "mad eup").encode()))
    corpus = build([packed], tmp_path / "out", ABC, here(1))
    assert sorted(documents(corpus)) == ["0.abc", "2.abc"]
    (left,) = corpus.rejects().to_pylist()
    assert (left["name"], left["reason"]) == ("some.zip/1.abc", items.NOT_READABLE) and "CRC" in left["detail"]


def test_a_corpus_is_not_replaced_unless_it_is_said(collection, corpus):
    with pytest.raises(FileError, match="--force"):
        build([collection], corpus.folder, Recipe(), here(1))


def test_music_is_never_replaced_by_a_corpus(make_tune, tmp_path, capsys):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tune.abc").write_text(make_tune(1))
    for out, reason in (("mine", "which is read"), ("theirs", "is not a corpus")):
        words = [str(tmp_path / "mine"), "-o", str(tmp_path / out), "-t", "abc", "--processes", "1", "--force"]
        assert main(["corpus", "build", *words]) == 1
        assert reason in capsys.readouterr().err and (tmp_path / out / "tune.abc").exists()


def test_a_corpus_is_replaced_when_it_is_said(tunebook, tmp_path):
    for force in (False, True):
        build([tunebook], tmp_path / "out", ABC, here(1), force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_to_learn_from_is_said_with_the_reasons(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.mid").write_bytes(b"noise")
    with pytest.raises(CorpusError, match="nothing to learn from: 1 not readable"):
        build([tmp_path / "in"], tmp_path / "out", Recipe(), here(1))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "index, rule",
    [
        ("file\nx.mid\n", "needs a path"),
        ("path\n../x.mid\n", "line 2.*out of the collection"),
        ("path\n/x\n", "out of"),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path, index, rule):
    (tmp_path / "index.csv").write_text(index)
    with pytest.raises(CorpusError, match=rule):
        build([tmp_path], tmp_path / "out", Recipe(), here(1))


def test_the_command_builds_shows_and_checks(tunebook, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = ["corpus", "build", str(tunebook), "-o", out, "-t", "abc", "--processes", "1", "--densest", "100"]
    assert main(words) == 0
    built = capsys.readouterr().out
    assert main(["corpus", "show", out, "--check"]) == 0
    assert capsys.readouterr().out == built and "30 documents in abc, of 30 pieces found" in built
    assert main(["corpus", "show", out, "--rejects"]) == 0 and capsys.readouterr().out == ""
    recipe = json.loads((tmp_path / "out" / "manifest.json").read_text())["recipe"]
    assert recipe["preparation"]["filters"]["densest"] == 100.0
    assert main(words) == 1 and "--force" in capsys.readouterr().err
    (tmp_path / "out" / "train" / "tokens-00000.bin").write_bytes(b"")
    assert main(["corpus", "show", out]) == 1 and "damaged" in capsys.readouterr().err


def test_what_an_index_gives_is_kept_and_nothing_near_to_it_is_learnt(collection, make_piece, tmp_path):
    music = tmp_path / "in"
    shutil.copytree(collection, music)
    near = make_piece(1, shift=2)
    table = np.array(near.tracks[0].notes)
    table[5, 2] += 1
    near.tracks[0].notes.setflags(write=True)
    near.tracks[0].notes[:] = table
    (music / "50.mid").write_bytes(write_performance(near))
    (music / "51.mid").write_bytes(write_performance(make_piece(2, stretch=2, shift=-3)))
    with (music / "index.csv").open("a") as index:
        index.write("50.mid,songs,A,CC0,train,,\n51.mid,songs,A,CC0,train,,\n")
    corpus = build([music], tmp_path / "out", Recipe(sharing=Sharing(by="given", near=0.6)), here(1))
    assert [name[-6:] for name in corpus.split("valid").column("name")] == ["00.mid", "01.mid"]
    assert [name[-6:] for name in corpus.split("test").column("name")] == ["02.mid", "03.mid"]
    reasons = {row["name"][-6:]: (row["reason"], row["detail"][-6:]) for row in corpus.rejects().to_pylist()}
    assert reasons["50.mid"] == (items.NEAR_HELD_OUT, "01.mid") and reasons["51.mid"] == (items.SAME_SHAPE, "02.mid")
