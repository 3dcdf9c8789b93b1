"""Live against PyPI `rwkv`, at shapes drawn at random: versions 4, 5.2, 6 and 7."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rwkv_music.engine import Engine
from rwkv_music.model.invented import RandomWeights, standard_spec

pytest.importorskip("rwkv", reason="PyPI rwkv is not installed; pip install rwkv")

# Runs in a process of its own, because `rwkv` picks its version by environment variables when it is imported.
PEER = """
import sys, types
import torch
from safetensors.torch import save_file
from rwkv.model import RWKV

model, ids, out = sys.argv[1], [int(i) for i in sys.argv[2].split(",")], sys.argv[3]
peer = RWKV(model=model, strategy="cpu fp32")
half = len(ids) // 2
logits, state = peer.forward(ids[:half], None, full_output=True)
more, state = peer.forward(ids[half:], state, full_output=True)
save_file({"logits": torch.cat([logits, more]).contiguous()}, out)
"""


@pytest.mark.parametrize("version", ["4", "5.2", "6", "7"])
@pytest.mark.parametrize("seed", [1, 2])
def test_logits_are_those_of_pypi_rwkv(version, seed, tmp_path: Path):
    draw = random.Random(f"{version} {seed}")
    width = draw.choice([64, 128, 192])
    # With one layer `rwkv` takes 5.2 for 5.1 and fails; its RWKV-7 wants the value mix of a second layer.
    spec = standard_spec(version, draw.choice([2, 3]), width, draw.randrange(40, 300), ffn=32 * draw.randrange(3, 14))
    weights = dict(RandomWeights(spec, seed=seed))
    if version == "7":
        # As the official trainer writes it: a first layer with a value mix that is never used.
        weights |= {f"blocks.0.att.{name}": weights[f"blocks.1.att.{name}"] for name in ("v0", "v1", "v2")}
    torch.save(weights, tmp_path / "model.pth")
    ids = [draw.randrange(spec.vocabulary) for _ in range(2 * draw.randrange(3, 20))]
    environment = {**os.environ, "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0", "RWKV_V7_ON": "1" if version == "7" else "0"}
    arguments = [str(tmp_path / "model"), ",".join(map(str, ids)), str(tmp_path / "peer.safetensors")]
    done = subprocess.run(
        [sys.executable, "-c", PEER, *arguments], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-1000:]
    logits, _ = Engine.open(tmp_path / "model.pth").advance(ids, all_logits=True)
    torch.testing.assert_close(logits, load_file(tmp_path / "peer.safetensors")["logits"], rtol=0, atol=2e-4)
