"""A real run of four steps is told by everybody who watches one."""

import json
from html.parser import HTMLParser

import numpy as np

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.lesson import Lesson
from rwkv_music_training.learning.loop import Run
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup
from rwkv_music_training.telling import listening
from rwkv_music_training.telling.curve import read_curve, read_steps
from rwkv_music_training.telling.watchers import watchers_of


def test_a_run_leaves_curves_samples_and_a_page(tunes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(listening, "LONGEST", 8)
    monkeypatch.setattr("rwkv_music_training.telling.limits.MEASURED", 0.01)
    documents = [np.array(AbcTokenizer().document(tune.text)) for tune in tunes[:12]]
    sources = [tune.source for tune in tunes[:12]]
    lesson = Lesson("abc", 128, Listed(documents[:8], sources[:8]), Listed(documents[8:], sources[8:]))
    config = TrainingConfig(name="tiny").but(
        shape={"layers": 1, "width": 64},
        data={"tokens_per_step": 128, "window": 64, "pieces": 1},
        schedule={"steps": 4},
        machine={"device": "cpu", "precision": "float32", "threads": 1},
        habits={"read_every": 2, "prompts": ["R:jig\nM:6/8\nL:1/8\nK:D\nABc|"]},
    )
    Run(config, lesson, tmp_path, setup(Layout(accelerator="cpu")), watchers=watchers_of(config)).run()
    rows, steps = read_curve(tmp_path / "curve.csv"), read_steps(tmp_path / "steps.jsonl")
    best = json.loads((tmp_path / "best" / "config.json").read_text())
    assert [row["step"] for row in rows] == ["2", "4"] and [line["step"] for line in steps] == [1, 2, 3, 4]
    assert min(float(row["valid"]) for row in rows) == best["valid_bits_per_token"]["all"]
    assert {path.suffix for path in (tmp_path / "samples").glob("step-0000004-1.*")} >= {".abc", ".mid", ".svg"}
    HTMLParser().feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "finished after 4 steps" in capsys.readouterr().err
