"""How many processes a run has: what the config asks for, and what has been started already."""

import pytest

from rwkv_music_training.scale.layout import Layout, LayoutError, Machines, find_machines

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "8", "WORLD_SIZE": "32"}
SLURM = {"SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "16", "SLURM_NNODES": "4"}


def test_alone_there_is_one_process_on_the_cpu():
    assert find_machines(Layout(accelerator="cpu"), {}) == Machines(1, 1)


def test_processes_that_torchrun_started_are_taken():
    assert find_machines(Layout(), TORCHRUN) == Machines(8, 4)


def test_tasks_that_slurm_started_are_taken():
    assert find_machines(Layout(nodes=4), SLURM) == Machines(4, 4)


def test_a_slurm_allocation_without_srun_is_one_process():
    told = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"}
    assert find_machines(Layout(accelerator="cpu"), told) == Machines(1, 1)


def test_a_config_that_contradicts_the_launcher_is_told():
    with pytest.raises(LayoutError, match="torchrun started 8 for 'devices', the config says 4"):
        find_machines(Layout(devices=4), TORCHRUN)


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        (Layout(devices=4, context=3), "context must divide the 4 processes"),
        (Layout(devices=4, spread="hsdp", copies=3), "copies must divide the 4 processes"),
    ],
)
def test_groups_must_fit(layout, told):
    with pytest.raises(LayoutError, match=told):
        find_machines(layout, {})


@pytest.mark.parametrize(
    "values", [{"devices": -1}, {"context": 0}, {"patience": 0}, {"spread": "fsdp", "sums": "float64"}]
)
def test_numbers_out_of_range_are_refused(values):
    with pytest.raises(LayoutError):
        Layout(**values)
