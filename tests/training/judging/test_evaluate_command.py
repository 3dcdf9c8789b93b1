"""`rwkv-music evaluate`: models and baselines side by side on held-out music, and one line for every mistake."""

import json
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import zstandard

from rwkv_music.cli import main
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.judging.copies import Known
from rwkv_music_training.judging.distance import DistanceError, music_distance
from rwkv_music_training.judging.ngrams import NgramModel
from rwkv_music_training.judging.shelf import Shelf


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, tunes) -> Path:
    """A folder of made-up tunes, in two splits."""
    folder = tmp_path_factory.mktemp("made-up")
    for name, some in (("train", tunes[:20]), ("valid", tunes[20:30])):
        rows = [
            {"id": tune.id, "source": tune.source, "tier": "AAAB"[number % 4], "abc": f"X:1\nT:x\n{tune.text}"}
            for number, tune in enumerate(some)
        ]
        content = zstandard.compress("\n".join(map(json.dumps, rows)).encode())
        (folder / f"{name}.jsonl.zst").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Random weights as the official trainer writes them."""
    path = tmp_path_factory.mktemp("models") / "random-7.pth"
    torch.save(dict(RandomWeights(standard_spec("7", 1, 64, 128))), path)
    return path


QUICK = ["--write", "2", "--max-tokens", "40", "-q"]


def test_one_command_makes_the_table_in_every_form(shelf, checkpoint, tmp_path, capsys):
    files = [tmp_path / f"table{suffix}" for suffix in (".md", ".json", ".html")]
    given = [str(checkpoint), "ngram:3", str(shelf), *QUICK]
    assert main(["evaluate", *given, *[part for file in files for part in ("-o", str(file))]]) == 0
    assert capsys.readouterr() == ("", "")
    markdown, plain, page = (file.read_text(encoding="utf-8") for file in files)

    table = json.loads(plain)
    random, grams = table["rows"]
    assert (random["model"], grams["model"]) == ("random-7.pth", "3-gram")
    assert random["cost"]["pieces"] == grams["cost"]["pieces"] == 8
    assert grams["cost"]["bits_per_character"] < 4.5 < 6.5 < random["cost"]["bits_per_character"]
    assert random["with_masks"]["bars_right"] == 1 and random["without_masks"]["valid"] == 0
    assert grams["copied"]["unit"] == "characters" and len(grams["copied"]["median_90_max"]) == 3
    assert random["parameters"] == sum(tensor.numel() for tensor in torch.load(checkpoint).values())
    assert set(random["by_source"]) == {"made up", "other"} and table["real"][shelf.name]["music"]["notes"] > 0

    assert "| random-7.pth | RWKV-7, 1 x 64 | abc |" in markdown and "| pitch |" in markdown
    assert (
        f"{grams['cost']['bits_per_character']:.3f}" in markdown
        and f"{grams['cost']['bits_per_character']:.3f}" in page
    )
    parser = HTMLParser()
    parser.feed(page)
    assert page.count("<table>") == 4 and "src=" not in page and "href=" not in page

    assert main(["evaluate", *given, "-o", str(files[0])]) == 1
    assert "exists; --force overwrites it" in capsys.readouterr().err


def test_the_table_goes_to_standard_output(shelf, capsys):
    assert main(["evaluate", "ngram:2", str(shelf), "--write", "0", "--pieces", "3", "--known", "5"]) == 0
    told = capsys.readouterr()
    assert (
        told.out.startswith("# Models side by side\n\n## What made-up0 costs\n\n3 pieces")
        and "of their own" not in told.out
    )
    assert "at most 3 pieces of the split valid, tier A, all tokens of each" in told.out
    assert "2-gram: " in told.err


def test_a_corpus_that_was_built_is_read_as_it_was_kept(shelf, tmp_path, capsys):
    place = tmp_path / "corpus"
    build = ["corpus", "build", str(shelf), "-t", "abc", "--split", "given", "-o", str(place), "--processes", "1"]
    assert main(build) == 0
    capsys.readouterr()
    assert main(["evaluate", "ngram:3", str(place), "--write", "0", "-q"]) == 0
    corpus, told = Corpus.open(place), capsys.readouterr().out
    valid = [piece.document("abc") for piece in Shelf(place).pieces("valid")]
    train = [piece.document("abc") for piece in Shelf(place).pieces("train")]
    assert [ids.tolist() for ids in valid] == [
        corpus.split("valid").read(number).tolist() for number in range(len(valid))
    ]
    cost = np.concatenate([-np.log2(NgramModel(train, 128, 3).probabilities(ids)) for ids in valid]).mean()
    assert f"| 3-gram | Kneser-Ney, {len(train)} pieces | abc | {cost:.3f} |" in told.replace("| – ", "")


def test_midi_is_read_in_notes(midi_folder, checkpoint, capsys):
    given = ["evaluate", "ngram:2", str(checkpoint), str(midi_folder), *QUICK, "--known", "4", "--pieces", "3"]
    assert main([*given[:-5], *given[-5:]]) == 0
    told = capsys.readouterr().out
    assert "| 2-gram | Kneser-Ney, 4 pieces | notes |" in told and "random-7" not in told


@pytest.mark.parametrize(
    "given, told",
    [
        (["no-model", "SHELF"], "no model 'no-model'"),
        (["ngram:0", "SHELF"], "'ngram:0' is no baseline"),
        (["ngram:2", "nowhere"], "nowhere: there is no such corpus"),
        (["ngram:2", "SHELF", "--tier", "C"], "no piece of split valid, tier C"),
        (["ngram:2", "SHELF", "--top-p", "2"], "--top-p 2.0"),
        (["ngram:2", "SHELF", "-o", "table.txt"], "the suffix chooses the form"),
    ],
)
def test_mistakes_are_one_line(shelf, capsys, given, told):
    assert main(["evaluate", *[str(shelf) if one == "SHELF" else one for one in given], *QUICK]) != 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0]


def test_a_tune_is_known_in_any_key():
    def document(text: str) -> np.ndarray:
        return np.array([2, *text.encode(), 3])

    known = Known([document("M:4/4\nL:1/8\nK:D\nDEFG ABcd|\n")], "abc")
    (found,) = known.share([document("M:3/4\nL:1/8\nK:G\nGABc defg|z\n")]).stretches
    assert found.length == 10 and known.unit == "characters"


def test_the_distance_is_asked_of_its_package_and_missed_in_one_line(pieces, monkeypatch):
    monkeypatch.setitem(sys.modules, "frechet_music_distance", None)
    with pytest.raises(DistanceError, match=r"pip install 'rwkv-music\[distance\]'"):
        music_distance(pieces[:2], pieces[2:4])
    module = ModuleType("frechet_music_distance")
    asked = []

    class Metric:
        def __init__(self, **options):
            asked.append(options["feature_extractor"])

        def score(self, reference, test):
            asked.append([len(list(folder.glob("*.mid"))) for folder in (reference, test)])
            if len(asked) > 2:
                raise ConnectionError("no route")
            return 12.5

    setattr(module, "FrechetMusicDistance", Metric)  # noqa: B010
    monkeypatch.setitem(sys.modules, "frechet_music_distance", module)
    assert music_distance(pieces[:2], pieces[2:5]) == 12.5 and asked == ["clamp2", [2, 3]]
    with pytest.raises(DistanceError, match="weights of CLaMP 2 cannot be had .no route."):
        music_distance(pieces[:2], pieces[2:5])
    with pytest.raises(DistanceError, match="at least two pieces"):
        music_distance(pieces[:1], pieces[2:5])
