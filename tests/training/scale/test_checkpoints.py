"""A checkpoint is whole or not there: what is told, kept, refused and brought back."""

import json
import re
import resource
from pathlib import Path

import pytest
import torch

from rwkv_music_training.scale.checkpoints import Checkpoints
from rwkv_music_training.scale.found import CheckpointError, best_in, read_manifest, steps_in
from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def checkpoints(tmp_path, told) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", setup(Layout(accelerator="cpu")), tell=told.append)


def values(x: float) -> dict[str, torch.Tensor]:
    return {
        "weights/a.b": torch.full((3, 4), float(x)),
        "optimiser/step/a.b": torch.tensor(x),
        "other/c": torch.arange(5),
    }


def saved(checkpoints: Checkpoints, *steps: int, best: int = 0) -> list[Path]:
    for step in steps:
        checkpoints.save(step, values(step), {"tokens": 10 * step}, best=step == best)
    checkpoints.finish()
    return steps_in(checkpoints.folder)


def loaded(checkpoints: Checkpoints) -> tuple[int, float]:
    """The step and the first weight of the newest checkpoint that can be read."""
    found = checkpoints.newest()
    assert found is not None
    tensors = values(0)
    checkpoints.load(found, tensors)
    return found.step, tensors["weights/a.b"][0, 0].item()


def test_a_checkpoint_comes_back_whole(checkpoints):
    saved(checkpoints, 7)
    found = checkpoints.newest()
    assert (found.step, found.told) == (7, {"tokens": 70})
    tensors = {name: torch.zeros_like(tensor) for name, tensor in values(0).items()}
    checkpoints.load(found, tensors)
    assert all(torch.equal(tensor, values(7)[name]) for name, tensor in tensors.items())


def test_training_goes_on_while_a_checkpoint_is_written(checkpoints):
    tensors = {"weights/a": torch.ones(1000, 100)}
    checkpoints.save(1, tensors, {})
    tensors["weights/a"].zero_()
    checkpoints.finish()
    checkpoints.load(checkpoints.newest(), tensors)
    assert tensors["weights/a"].min() == 1


def test_the_newest_are_kept_and_the_best_apart(checkpoints):
    paths = saved(checkpoints, 1, 2, 3, 4, 5, best=2)
    assert [path.name for path in paths] == ["step-0000002", "step-0000004", "step-0000005"]
    assert best_in(checkpoints.folder) == checkpoints.best().path == paths[0]


def test_a_better_one_takes_the_place_of_the_best(checkpoints):
    saved(checkpoints, 1, 2, 3, best=1)
    paths = saved(checkpoints, 4, 5, 6, best=4)
    assert [path.name for path in paths] == ["step-0000004", "step-0000005", "step-0000006"]


def test_a_step_that_is_written_again_replaces_the_first(checkpoints):
    saved(checkpoints, 3)
    checkpoints.save(3, values(9), {})
    checkpoints.finish()
    assert loaded(checkpoints) == (3, 9)


def test_what_a_killed_run_left_is_swept(checkpoints, tmp_path):
    kept = saved(checkpoints, 1)
    for name in (".step-0000002.part", ".step-0000001.old"):
        (checkpoints.folder / name).mkdir()
    (checkpoints.folder / "step-0000009").mkdir()  # no manifest: not one of ours
    again = Checkpoints(checkpoints.folder, setup(Layout(accelerator="cpu")))
    assert steps_in(again.folder) == kept
    assert not list(again.folder.glob(".step*"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("damage", "words"),
    [(flip_a_bit, "holds other bytes"), (cut, "has .* bytes instead of"), (Path.unlink, "No such file")],
)
def test_a_damaged_file_is_told_and_the_checkpoint_before_is_taken(checkpoints, told, damage, words):
    last = saved(checkpoints, 1, 2)[-1]
    damage(sorted(last.glob("*.safetensors"))[0])
    assert loaded(checkpoints) == (1, 1)
    assert len(told) == 1
    assert told[0].startswith("step-0000002 is damaged and left out: ")
    assert re.search(words, told[0])


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"files": {"../../x.safetensors": [1, "a"]}},
        {"best": "../step-0000001"},
        {"tensors": [1]},
        {"step": None},
    ],
)
def test_a_manifest_that_is_none_is_told(checkpoints, told, change):
    last = saved(checkpoints, 1, 2)[-1]
    manifest = last / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    assert loaded(checkpoints) == (1, 1)
    assert len(told) == 1 and str(manifest) in told[0]


def test_with_nothing_whole_there_is_nothing(checkpoints, told):
    assert checkpoints.newest() is None
    (saved(checkpoints, 1)[0] / "manifest.json").write_text("{")
    assert checkpoints.newest() is None
    assert len(told) == 1


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"weights/a.b": torch.zeros(3, 5)}, r"'weights/a.b' is float32 \[3, 4\], this run needs float32 \[3, 5\]"),
        ({"weights/a.b": torch.zeros(3, 4, dtype=torch.float64)}, "needs float64"),
        ({"weights/z": torch.zeros(1)}, "'weights/z' is missing"),
    ],
)
def test_tensors_of_another_run_are_refused(checkpoints, tensors, words):
    saved(checkpoints, 1)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(checkpoints.newest(), tensors)


def test_a_full_disk_is_told_and_the_last_checkpoint_kept(checkpoints, told):
    """A limit on the size of files stops the writing in the middle, as a full disk does."""
    saved(checkpoints, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        checkpoints.save(2, {"weights/a": torch.ones(10_000)}, {})
        checkpoints.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told == [
        f"no checkpoint written into {checkpoints.folder}: File too large; that of step 1 is kept, training goes on"
    ]
    assert loaded(checkpoints) == (1, 1)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-0000001"]
    with pytest.raises(CheckpointError, match=r"the last checkpoint could not be written \(File too large\)"):
        checkpoints.close()
    # There is room again.
    assert [read_manifest(path).step for path in saved(resumed(checkpoints), 2)] == [1, 2]


def resumed(checkpoints: Checkpoints) -> Checkpoints:
    return Checkpoints(checkpoints.folder, setup(Layout(accelerator="cpu")))
