"""Killed at random moments, a run ends where it would have ended; more kills: benchmarks/kill_and_resume.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "kill_and_resume.py"


def told(*options: object) -> dict:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, SCRIPT, *map(str, options)]
    done = subprocess.run(command, env=environment, timeout=900, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) | {"talk": done.stderr}


def test_every_loss_and_weight_is_bit_equal_after_kills():
    seen = told("--kills", 2, "--steps", 20)
    assert (seen["kills"], seen["lives"]) == (2, 3)
    assert seen["largest difference of a loss"] == 0 and seen["weights bit-equal"]


@pytest.mark.skipif(sys.platform != "linux", reason="gloo tells at once of a lost process on Linux only")
def test_a_lost_process_is_noticed_and_the_run_goes_on_where_it_was():
    seen = told("--kills", 1, "--steps", 12, "--processes", 2, "--spread", "fsdp", "--seed", 1)
    assert seen["largest difference of a loss"] == 0 and seen["weights bit-equal"]
    if seen["noticed by the others"]:
        assert "lost touch with another" in seen["talk"] and "start the run again with --resume" in seen["talk"]
