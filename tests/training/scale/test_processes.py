"""A run is the same on 1, 2 and 4 processes, however it is spread and wherever it is resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.cli import main
from rwkv_music_training.scale.found import read_manifest, steps_in
from rwkv_music_training.scale.taking import learned

HERE = Path(__file__).parent
# Of losses in nats and of weights, float32: the sums of a step are added in another order.
TOLERANCE = 1e-6
# A carried state and Adam's division by small second moments let roundings grow.
WEIGHTS = 1e-5


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Where all the runs of `processes.py` left what they saw."""
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, HERE / "processes.py", folder], check=True, env=environment, timeout=900)
    return folder


def losses(out: Path, name: str) -> dict[str, float]:
    return json.loads((out / f"{name}.json").read_text())["losses"]


def distance(out: Path, one: str, other: str) -> float:
    """The largest difference between any two weights at the end of two runs."""
    ours, theirs = (load_file(out / f"{name}.safetensors") for name in (one, other))
    assert ours.keys() == theirs.keys()
    return max((tensor - theirs[name]).abs().max().item() for name, tensor in ours.items())


@pytest.mark.parametrize("name", ["ddp-2", "ddp-4"])
def test_whole_copies_learn_every_bit_that_one_process_learns(out, name):
    assert losses(out, name) == losses(out, "packed-1")
    assert distance(out, name, "packed-1") == 0


def test_threads_of_processes_learn_every_bit_that_one_thread_learns(out):
    assert losses(out, "threaded-2") == losses(out, "threaded-1")
    assert distance(out, "threaded-2", "threaded-1") == 0


@pytest.mark.parametrize("name", ["ddp32-2", "ddp32-4", "fsdp-2", "fsdp-4", "hsdp-4"])
def test_every_spread_learns_what_one_process_learns(out, name):
    assert losses(out, name) == pytest.approx(losses(out, "packed-1"), abs=TOLERANCE)
    assert distance(out, name, "packed-1") < WEIGHTS


@pytest.mark.parametrize("name", ["context-2", "context-4"])
def test_processes_that_share_a_row_learn_what_one_process_learns(out, name):
    assert losses(out, name) == pytest.approx(losses(out, "packed-1"), abs=TOLERANCE)
    assert distance(out, name, "packed-1") < WEIGHTS


def test_states_are_carried_across_windows_that_sharded_processes_share(out):
    assert losses(out, "carried-4") == pytest.approx(losses(out, "carried-1"), abs=TOLERANCE)
    assert distance(out, "carried-4", "carried-1") < WEIGHTS


def test_muon_sees_whole_matrices_where_they_are_sharded(out):
    """Its iteration runs in bfloat16, of which single weights show the rounding."""
    assert losses(out, "muon-2") == pytest.approx(losses(out, "muon-1"), abs=TOLERANCE)
    assert distance(out, "muon-2", "muon-1") < 4e-3


def test_a_run_moves_from_one_process_to_two_to_four(out):
    whole, parts = losses(out, "whole-1"), [losses(out, f"moving-{world}") for world in (1, 2, 4)]
    assert [list(part) for part in parts] == [["1", "2"], ["3", "4"], ["5"]]
    assert parts[0] == {step: whole[step] for step in parts[0]}  # one process: every bit
    assert parts[0] | parts[1] | parts[2] == pytest.approx(whole, abs=TOLERANCE)
    assert distance(out, "moving-4", "whole-1") < WEIGHTS


def test_gradient_norms_are_those_of_the_whole_step(out):
    norms = [json.loads((out / f"{name}.json").read_text())["norms"] for name in ("packed-1", "fsdp-4", "context-2")]
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    assert norms[2] == pytest.approx(norms[0], rel=1e-5)


def read(out: Path, *names: str) -> list[tuple[int, int, str]]:
    """Every micro-batch that any process of some runs was given."""
    files = [path for name in names for path in out.glob(f"{name}.*.read")]
    return sorted(tuple(one) for path in files for one in json.loads(path.read_text()))


@pytest.mark.parametrize("names", [["ddp-2"], ["fsdp-4"], ["moving-1", "moving-2", "moving-4"]])
def test_the_data_and_its_order_are_the_same_for_any_number_of_processes(out, names):
    expected = read(out, "packed-1")
    assert len(expected) == 5 * 4
    assert read(out, *names) == expected


def test_neighbours_in_context_are_given_the_same_rows(out):
    assert read(out, "context-4") == sorted(4 * read(out, "packed-1"))


def test_each_process_wrote_a_share(out):
    """Three quarters of a matrix of a sharded model are on other processes."""
    shards = list((out / "fsdp-of-4" / "checkpoints" / "step-0000005").glob("shard-*.safetensors"))
    shapes = [load_file(path).get("weights/head.weight", torch.zeros(0)).shape for path in shards]
    assert [shape for shape in shapes if shape != (0,)] == [(32, 32)] * 4


def test_what_two_sharded_processes_wrote_opens_in_one_and_plays(out, tmp_path):
    whole = load_file(out / "fsdp-2.safetensors")
    newest = steps_in(out / "fsdp-of-2" / "checkpoints")[-1]
    read = learned(read_manifest(newest), average=False)
    assert read.keys() == whole.keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in read.items())
    assert main(["checkpoints", str(newest), "-o", str(tmp_path / "model")]) == 0
    tune = tmp_path / "tune.abc"
    assert main(["generate", "-m", str(tmp_path / "model"), "--bars", "1", "--seed", "1", "-o", str(tune)]) == 0
    assert tune.read_text().startswith("X:")
