"""The fused Triton kernels give what plain torch gives, forward and backward.

Where there is no GPU the kernels are interpreted, in a process of its own: TRITON_INTERPRET must be set before Triton is
imported. `TRITON_INTERPRET=1 pytest tests/kernels/test_triton_elementwise.py` runs the same facts one by one.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, bfloat16, float16, float32, float64

from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.elementwise import PlainElementwise

pytest.importorskip("triton", reason="the extra `gpu` is not installed", exc_type=ImportError)

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
# The root mean square error of float32 sums, or of rounding results once; the interpreter cuts bfloat16 off instead.
RTOL = {float32: 2e-6, bfloat16: 8e-3, float16: 1e-3}

on_device = pytest.mark.filterwarnings("default") if INTERPRETED else pytest.mark.cuda
every_dtype = pytest.mark.parametrize("dtype", [float32, bfloat16, float16], ids=lambda dtype: str(dtype)[6:])


def fused() -> Any:
    from rwkv_music_kernels.triton.elementwise import TritonElementwise

    return TritonElementwise()


@pytest.fixture(autouse=True)
def nan_filled():
    """Memory torch hands out holds NaN until it is written."""
    before, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before, warn_only=warn)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def run(function: Callable[..., Any], leaves: list[Tensor]) -> dict[str, Tensor]:
    """Results and gradients of a sum over them with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in leaves]
    results = function(*leaves)
    results = [results] if isinstance(results, Tensor) else list(results)
    loss = sum((x.cpu().double() * noise(*x.shape, seed=100 + i)).sum() for i, x in enumerate(results))
    assert isinstance(loss, Tensor)
    found = {f"result {i}": x.detach() for i, x in enumerate(results)}
    return found | {f"gradient {i}": g for i, g in enumerate(torch.autograd.grad(loss, leaves))}


def assert_as_plain(function: Callable[..., Any], leaves: list[Tensor], rtol: float) -> None:
    """`function(kernels, *leaves)` of the fused kernels, against plain torch in float64 on the same rounded numbers."""
    expected = run(lambda *x: function(PlainElementwise(), *x), [x.double() for x in leaves])
    results = run(lambda *x: function(fused(), *x), [x.to(DEVICE) for x in leaves])
    assert set(results) == set(expected)
    for name, result in results.items():
        right = expected[name]
        assert result.shape == right.shape
        error = float((result.double().cpu() - right).norm() / right.norm().clamp_min(1e-30))
        assert error <= rtol, f"{name}: relative error {error:.1e}"


@on_device
@every_dtype
@pytest.mark.parametrize("count", [1, 2, 6, 7])
def test_mixes_of_channels(count, dtype):
    x, last = noise(2, 5, 300).to(dtype), noise(2, 300, seed=1).float()
    mixes = [noise(300, seed=2 + i).sigmoid().float() for i in range(count)]
    assert_as_plain(lambda kernels, x, last, *mixes: kernels.shift_mix(x, last, mixes), [x, last, *mixes], RTOL[dtype])


@on_device
@pytest.mark.parametrize("tokens", [1, 3, 4, 9])
def test_mixes_of_tokens_beside_mixes_of_channels(tokens):
    x, last = noise(3, tokens, 48).float(), noise(3, 48, seed=1).float()
    mixes = [noise(*shape, seed=2).float() for shape in ((3, tokens, 48), (48,), (3, tokens, 48))]
    assert_as_plain(
        lambda kernels, x, last, *mixes: kernels.shift_mix(x, last, mixes), [x, last, *mixes], RTOL[float32]
    )


@on_device
@pytest.mark.parametrize("ends", [[0, 0, 1, 6, 6, 9, 9], [0, 9], [0, 4, 8, 9]])
def test_packed_documents_shift_in_their_own_token(ends):
    x, last = noise(1, 9, 48).float(), noise(len(ends) - 1, 48, seed=1).float()
    mixes = [noise(*shape, seed=2).float() for shape in ((1, 9, 48), (48,))]
    assert_as_plain(
        lambda kernels, x, last, *mixes: kernels.shift_mix(x, last, mixes, torch.tensor(ends, device=x.device)),
        [x, last, *mixes],
        RTOL[float32],
    )


@on_device
def test_a_mix_that_nobody_uses_gives_nothing_back():
    x, last, mix = (noise(*shape).float().to(DEVICE) for shape in ((1, 3, 16), (1, 16), (16,)))
    x.requires_grad_()
    first, _ = fused().shift_mix(x, last, [mix, mix])
    (with_two,) = torch.autograd.grad(first.sum(), x)
    (with_one,) = torch.autograd.grad(fused().shift_mix(x, last, [mix])[0].sum(), x)
    assert torch.equal(with_two, with_one)


@on_device
@every_dtype
@pytest.mark.parametrize(("heads", "size"), [(2, 64), (3, 24), (1, 128)])
def test_what_a_key_removes(heads, size, dtype):
    width = heads * size
    k, rate = noise(2, 5, width).to(dtype), noise(2, 5, width, seed=1).sigmoid().to(dtype)
    k_k, k_a = (0.7 + 0.1 * noise(width, seed=2)).float(), (1 + 0.1 * noise(width, seed=3)).float()
    assert_as_plain(lambda kernels, *x: kernels.removal_key(*x, heads), [k, rate, k_k, k_a], RTOL[dtype])


@on_device
def test_a_key_of_zeros_removes_nothing_and_its_gradients_are_numbers():
    width = 32
    leaves = [torch.zeros(1, 2, width), torch.rand(1, 2, width), torch.ones(width), torch.ones(width)]
    results = run(lambda *x: fused().removal_key(*x, 1), [x.to(DEVICE) for x in leaves])
    assert results["result 1"].eq(0).all() and all(x.isfinite().all() for x in results.values())


@on_device
@every_dtype
@pytest.mark.parametrize(("gated", "with_bonus"), [(True, True), (True, False), (False, True), (False, False)])
def test_reading_out(gated, with_bonus, dtype):
    heads, size = 2, 40
    width = heads * size
    y, weight, bias = noise(2, 5, heads, size).to(dtype), noise(width, seed=1).float(), noise(width, seed=2).float()
    extra = [noise(2, 5, width, seed=3).to(dtype)] * gated + [noise(2, 5, heads, size, seed=4).to(dtype)] * with_bonus

    def read(kernels, y, weight, bias, *extra):
        rest = list(extra)
        gate = rest.pop(0) if gated else None
        return kernels.read_out(y, weight, bias, gate, rest.pop(0) if with_bonus else None)

    assert_as_plain(read, [y, weight, bias, *extra], RTOL[dtype])


@on_device
def test_the_result_of_reading_out_is_as_wide_as_its_widest_input():
    y, gate, vector = torch.ones(1, 1, 1, 16), torch.ones(1, 1, 16, dtype=bfloat16), torch.ones(16)
    y, gate, vector = (x.to(DEVICE) for x in (y, gate, vector))
    assert fused().read_out(y, vector, vector, gate).dtype == float32
    assert fused().read_out(y.bfloat16(), vector, vector, gate).dtype == bfloat16


@on_device
@every_dtype
@pytest.mark.parametrize("shape", [(1,), (3, 7, 131)])
def test_the_squared_relu(shape, dtype):
    assert_as_plain(lambda kernels, x: kernels.squared_relu(x), [noise(*shape, seed=5).to(dtype)], RTOL[dtype])


@on_device
def test_sums_over_many_tokens_are_whole(monkeypatch):
    from rwkv_music_kernels.triton import elementwise

    # As few parts as a long batch has, so that a program takes its turns.
    monkeypatch.setattr(elementwise, "_PARTS", 2)
    x, last, mix = noise(1, 37, 16).float(), noise(1, 16).float(), noise(16, seed=1).float()
    assert_as_plain(lambda kernels, x, last, mix: kernels.shift_mix(x, last, [mix]), [x, last, mix], RTOL[float32])
    y, weight, bias = noise(1, 37, 1, 16).float(), noise(16).float(), noise(16, seed=1).float()
    assert_as_plain(lambda kernels, *leaves: kernels.read_out(*leaves, None), [y, weight, bias], RTOL[float32])
    k, rate = noise(1, 37, 16).float(), noise(1, 37, 16, seed=1).sigmoid().float()
    assert_as_plain(lambda kernels, *leaves: kernels.removal_key(*leaves, 1), [k, rate, weight, bias], RTOL[float32])


@on_device
@pytest.mark.parametrize("shape", [(0, 3, 16), (2, 0, 16)])
def test_no_tokens_give_no_results_and_no_sums(shape):
    x, vector = torch.ones(shape), torch.ones(16)
    assert_as_plain(lambda k, x, last, m: k.shift_mix(x, last, [m]), [x, torch.ones(shape[0], 16), vector], 0)
    results = run(lambda *leaves: fused().removal_key(*leaves, 2), [y.to(DEVICE) for y in (x, x, vector, vector)])
    assert results["gradient 2"].eq(0).all() and results["result 0"].shape == (*shape[:2], 2, 8)
    assert_as_plain(lambda k, x: k.squared_relu(x), [x], 0)


@on_device
def test_tensors_may_lie_anyhow():
    x = noise(2, 6, 32).float().to(DEVICE)
    last, mix = x[:, 0], x[0, 0]
    scattered = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not scattered.is_contiguous()
    assert torch.equal(fused().shift_mix(scattered, last, [mix])[0], fused().shift_mix(x, last, [mix])[0])
    assert torch.equal(fused().squared_relu(scattered), fused().squared_relu(x))


@on_device
def test_a_nan_is_not_hidden():
    x, vector = torch.full((1, 1, 16), float("nan"), device=DEVICE), torch.ones(16, device=DEVICE)
    assert fused().squared_relu(x).isnan().all()
    assert fused().read_out(x.view(1, 1, 1, 16), vector, vector, None).isnan().all()
    assert all(out.isnan().all() for out in fused().removal_key(x, x, vector, vector, 1))


@on_device
def test_the_operators_keep_the_rules_of_torch():
    x, last, mix = (noise(*shape).float().to(DEVICE) for shape in ((1, 3, 16), (1, 16), (16,)))
    x.requires_grad_()
    y, gate = noise(1, 3, 2, 8).float().to(DEVICE).requires_grad_(), x.detach()
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(torch.ops.rwkv_music.squared_relu, (x,), test_utils=tests)
    torch.library.opcheck(torch.ops.rwkv_music.shift_mix, (x, last, [mix, mix], None), test_utils=tests)
    packed = (x, torch.cat([last, last]), [mix], torch.tensor([0, -1, 1, 2], device=x.device))
    torch.library.opcheck(torch.ops.rwkv_music.shift_mix, packed, test_utils=tests)
    torch.library.opcheck(torch.ops.rwkv_music.removal_key, (x, x.sigmoid(), mix, mix, 2), test_utils=tests)
    torch.library.opcheck(torch.ops.rwkv_music.read_out, (y, mix, mix, gate, None), test_utils=tests)


@on_device
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"x": torch.ones(3, 16)}, r"x must have shape \(B, T, C\)"),
        ({"x": torch.ones(1, 3, 16, dtype=float64)}, "x must be float32, bfloat16 or float16, not float64"),
        ({"last": torch.ones(2, 16)}, r"last must have shape \(1, 16\)"),
        ({"mix": torch.ones(8)}, r"a mix must have shape \(16,\)"),
        ({"mix": torch.ones(1, 2, 16)}, r"a mix must have shape \(1, 3, 16\)"),
    ],
)
def test_a_broken_contract_is_told(change, rule):
    given = {"x": torch.ones(1, 3, 16), "last": torch.ones(1, 16), "mix": torch.ones(16), **change}
    with pytest.raises(KernelError, match=rule):
        fused().shift_mix(given["x"].to(DEVICE), given["last"].to(DEVICE), [given["mix"].to(DEVICE)])


@pytest.mark.skipif(INTERPRETED, reason="this starts the interpreter")
def test_the_interpreter_finds_all_of_this_true():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", __file__]
    quick = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **quick}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(INTERPRETED, reason="the interpreter takes tensors on the CPU")
def test_without_a_gpu_they_say_so():
    with pytest.raises(KernelError, match="run on a GPU"):
        fused().squared_relu(torch.ones(3))
