"""What stands on the terminal is true: speed, share of the limit, cost and time left."""

import io
import math
import sys

import pytest
import torch

from rwkv_music.model.initial import new_spec
from rwkv_music.model.versions import tensor_shapes
from rwkv_music_training.telling import live
from rwkv_music_training.telling.limits import Limit, measure_limit, training_flops
from rwkv_music_training.telling.live import Glance, Live, duration


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("rwkv_music_training.telling.limits.MEASURED", 0.01)


def test_a_glance_tells_speed_share_cost_and_time_left(story):
    glance = Glance(Limit(1e6, 1000))
    for number in (1, 2, 3):
        glance.take(story.step(number))
    assert glance.words() == (
        "step 3, epoch 1.50, 3.000 bits, 200 tokens/s (20% of this machine's limit), rate 1.0e-03, 0 s left"
    )
    glance.take(story.step(2, math.nan))
    assert "3.000 bits" in glance.words() and "1 skipped, 1 s left" in glance.words()


def test_without_a_terminal_there_are_lines(story, capsys, monkeypatch):
    monkeypatch.setattr(live, "LINE_SECONDS", 0.0)
    story.tell(Live())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tiny <run>: RWKV-7, 2 x 64, 900 of 1,000 numbers learn, 4 steps, on cpu; ")
    assert lines[1].startswith("step 1, epoch 0.50, 3.000 bits, 200 tokens/s (")
    assert "step 4: validation 2.5000 bits a token (the best so far), training 3.0000" in lines
    assert lines[-1].startswith("finished after 4 steps, 400 tokens, 2 s; the best model is in ")
    assert len(lines) == 1 + 4 + 2 + 1


class Terminal(io.StringIO):
    """What thinks that people look at it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar(story, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(live, "PICTURE_SECONDS", 0.0001)
    story.tell(Live())
    shown = terminal.getvalue()
    assert "tiny <run>" in shown and "validation 2.5000 bits a token" in shown and "finished after 4 steps" in shown


def test_the_limit_is_of_all_matrices_six_operations_a_number():
    spec = new_spec(2, 64, 128)
    shapes = {name: shape for name, shape in tensor_shapes(spec).items() if name != "emb.weight"}
    numbers = sum(math.prod(shape) for shape in shapes.values() if len([size for size in shape if size > 1]) > 1)
    assert training_flops(spec) == 6 * numbers
    limit = measure_limit(spec, "cpu", "float32", 1)
    assert limit.tokens_per_second == pytest.approx(limit.flops_per_second / (6 * numbers)) and limit.share(0) == 0
    assert measure_limit(spec, "cpu", "float32", 1, 4).tokens_per_second > 1.5 * limit.tokens_per_second
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("seconds, told", [(45, "45 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_times_are_for_people(seconds, told):
    assert duration(seconds) == told
