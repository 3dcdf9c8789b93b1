"""The measurements for GPUs, on the CPU: what they are asked, what they compute, and the limits they hold it against."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def bench(monkeypatch) -> SimpleNamespace:
    """The modules gpu, gpu_kernels, gpu_engine and roofline."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("roofline", "gpu_kernels", "gpu_engine", "gpu")
    modules: dict[str, ModuleType] = {name: __import__(name) for name in names}
    return SimpleNamespace(**modules)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_one_line_says_so():
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "decode"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1 and "no GPU here" in done.stderr


def test_each_measure_has_versions_of_its_own(bench):
    assert bench.gpu.arguments(["wkv"]).versions == ["4", "6", "7"]
    assert bench.gpu.arguments(["same"]).versions == ["4", "5.0", "5.1", "5.2", "6", "7"]
    assert bench.gpu.arguments(["decode", "6"]).versions == ["6"]
    assert bench.gpu.arguments(["errors"]).tokens == 257


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["wkv", "5.2"], "no version 5.2 here"),
        (["decode", "--shapes", "12"], "'12' is not 2 sizes"),
        (["wkv", "--batches", "1x2x0x4"], "'1x2x0x4' is not 4 sizes"),
        (["sing"], "invalid choice"),
    ],
)
def test_odd_arguments_are_told(bench, capsys, words, rule):
    with pytest.raises(SystemExit):
        bench.gpu.arguments(words)
    assert rule in capsys.readouterr().err


def test_a_limit_is_the_longer_of_memory_and_products(bench):
    card = bench.roofline.Card("card", bytes_per_s=1e12, flops_per_s=1e14)
    assert card.limit(bench.roofline.Work(2e12, 1e14)) == (2.0, "memory")
    assert card.limit(bench.roofline.Work(1e12, 3e14)) == (3.0, "matrix")
    row = bench.roofline.limited({"rows": 1}, 4.0, bench.roofline.Work(2e12, 1e14), card)
    assert row == {"rows": 1, "ms": 4000.0, "limit_ms": 2000.0, "limit": "memory", "share": 0.5}


def test_the_work_of_a_model_is_that_of_its_matrices_and_states(bench):
    spec = bench.gpu_engine.shaped("7", "12x768", 65536)
    # Twelve layers of 12 C^2 and a head of V C; the low-rank maps add some percent.
    matrices = bench.roofline.matrix_numbers(spec)
    plain = 12 * 12 * 768**2 + 65536 * 768
    assert plain < matrices < 1.08 * plain
    assert bench.roofline.state_numbers(spec) == 12 * (64 * 768 + 2 * 768)
    one, many = (bench.roofline.decoding(spec, rows, 2) for rows in (1, 1024))
    assert one.bytes == 2 * matrices + 8 * 608_256
    assert many.bytes - one.bytes == 1023 * 8 * 608_256 and many.flops == 2048 * matrices
    assert bench.roofline.training(spec, 100).flops == 600 * matrices


def test_an_operator_moves_its_tensors_once_a_pass(bench):
    inputs, outputs = [torch.zeros(10), torch.zeros(5, dtype=torch.bfloat16)], [torch.zeros(10)]
    assert bench.roofline.operator(inputs, outputs, False).bytes == 50 + 40
    assert bench.roofline.operator(inputs, outputs, True).bytes == (50 + 40) + (50 + 40) + 50


@pytest.mark.parametrize("what", ["errors", "same", "wkv", "elementwise", "decode", "prefill", "train"])
def test_every_measure_runs_where_no_speed_is_to_be_had(bench, what, tmp_path):
    words = [what, "--shapes", "2x64", "--vocabulary", "80", "--batches", "1x3x1x64", "--rows", "2"]
    options = bench.gpu.arguments([*words, "--tokens", "4", "--rounds", "1", "--dtypes", "float32"])
    options.device = "cpu"
    card = bench.roofline.measured_card(1, "cpu", side=64)
    rows = json.loads(json.dumps(list(bench.gpu.MEASURES[what](options, card))))
    assert rows and all(row["measure"] == what for row in rows)
    assert all(row["share"] > 0 or row["limit_ms"] == 0 for row in rows if "share" in row)
    if what in ("same", "errors"):
        # The CPU keeps what is asked of GPUs, at float32.
        assert all(row["met"] for row in rows if row["dtype"] == "float32")
    bench.gpu.plot(rows, tmp_path / "shares.png")
    assert (tmp_path / "shares.png").stat().st_size > 1000
