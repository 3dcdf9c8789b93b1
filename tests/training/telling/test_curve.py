"""The numbers of a run are on disk after every step, and fit together again after it was stopped."""

import math

import pytest

from rwkv_music_training.learning.progress import Progress
from rwkv_music_training.telling.curve import CURVE, STEPS, CurveError, Ledger, read_curve, read_steps


def test_every_step_and_reading_is_kept_in_bits(story):
    story.tell(Ledger())
    rows, steps = read_curve(story.folder / CURVE), read_steps(story.folder / STEPS)
    assert [row["step"] for row in rows] == ["2", "4"]
    assert [float(rows[1][name]) for name in ("train", "valid", "valid songs", "valid tunes")] == [3, 2.5, 2.5, 5]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert steps[0]["loss_bits"] == pytest.approx(3) and steps[0]["tokens_per_second"] == 200


def test_what_was_told_after_the_checkpoint_is_forgotten(story):
    story.tell(Ledger())
    with (story.folder / STEPS).open("a") as file:
        file.write('{"step": 5, "tok')
    again = Ledger()
    again.begin(story.begun(Progress(step=3)))
    assert [row["step"] for row in read_curve(story.folder / CURVE)] == ["2"]
    assert [line["step"] for line in read_steps(story.folder / STEPS)] == [1, 2, 3]
    again.step(story.step(4, math.nan))
    assert read_steps(story.folder / STEPS)[-1]["loss_bits"] is None
    Ledger().begin(story.begun())
    assert not (story.folder / CURVE).exists() and read_steps(story.folder / STEPS) == []


@pytest.mark.parametrize("text", ["", "step\n", "step,epoch\n1,2\n", "\x00\x01"])
def test_a_curve_without_its_columns_is_refused(tmp_path, text):
    (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(CurveError, match="curve.csv"):
        read_curve(tmp_path / "curve.csv")
