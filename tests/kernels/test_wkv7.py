"""Every backend does what the contract says, held against the plain loop in float64 and against golden numbers."""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, bfloat16, float16, float32, float64

from rwkv_music_kernels.chunked import ChunkedKernels
from rwkv_music_kernels.contract import LEAST_LOG_DECAY, KernelError, Kernels
from rwkv_music_kernels.cpu.kernels import CpuKernels
from rwkv_music_kernels.reference import ReferenceKernels

BACKENDS = [ReferenceKernels(), ChunkedKernels(), CpuKernels()]
NAMES = ["r", "w", "k", "v", "a", "b", "state"]
# The root mean square error of a float32 sum as measured (up to 6e-7), or of rounding the result to its dtype.
RTOL = {float64: 1e-12, float32: 2e-6, bfloat16: 4e-3, float16: 5e-4}

every_backend = pytest.mark.parametrize("kernels", BACKENDS, ids=lambda kernels: kernels.name)
every_fast_backend = pytest.mark.parametrize("kernels", BACKENDS[1:], ids=lambda kernels: kernels.name)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors this small are slower on two; the test of threads sets its own number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(tokens: int, size: int = 64, *, pieces: int = 2, heads: int = 2, seed: int = 0) -> list[Tensor]:
    """r, w, k, v, a, b, state as RWKV-7 makes them, float64; the decays crowd at both bounds."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=float64)

    shape = (pieces, tokens, heads, size)
    r, k, v = noise(*shape), noise(*shape), noise(*shape)
    w = LEAST_LOG_DECAY * torch.sigmoid(4 * noise(*shape))
    away = torch.nn.functional.normalize(noise(*shape), dim=-1)
    return [r, w, k, v, -away, away * torch.sigmoid(noise(*shape)), noise(pieces, heads, size, size)]


def everything(kernels: Kernels, tensors: list[Tensor], *, autocast: bool = False) -> dict[str, Tensor]:
    """y, the new state, and the gradients of a sum over both with fixed random weights."""
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    with torch.autocast("cpu", dtype=bfloat16, enabled=autocast):
        y, new_state = kernels.wkv7(*leaves)
    generator = torch.Generator().manual_seed(1)
    loss = torch.tensor(0.0, dtype=float64)
    for result in (y, new_state):
        loss = loss + (result.double().cpu() * torch.randn(result.shape, generator=generator, dtype=float64)).sum()
    gradients = torch.autograd.grad(loss, leaves)
    return {"y": y.detach(), "new state": new_state.detach(), **dict(zip(NAMES, gradients, strict=True))}


@cache
def truth(tokens: int, size: int) -> dict[str, Tensor]:
    return everything(ReferenceKernels(), inputs(tokens, size))


def cast(tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    state = tensors[-1] if dtype == float64 else tensors[-1].float()
    return [*(x.to(dtype) for x in tensors[:-1]), state]


def assert_close(results: dict[str, Tensor], expected: dict[str, Tensor], rtol: float) -> None:
    for name, result in results.items():
        right = expected[name].double()
        error = float((result.detach().double().cpu() - right).norm() / right.norm().clamp_min(1e-30))
        assert error <= rtol, f"{name}: relative error {error:.1e}"


@pytest.fixture
def nan_filled():
    """Memory torch hands out holds NaN until it is written."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("nan_filled")
@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("tokens", [1, 15, 16, 17, 63, 64, 65, 257])
@every_fast_backend
def test_every_length_gives_the_truth_and_its_gradients(kernels, tokens, size):
    assert_close(everything(kernels, cast(inputs(tokens, size), float32)), truth(tokens, size), RTOL[float32])


def test_the_truth_itself_loses_little_in_float32():
    assert_close(everything(ReferenceKernels(), cast(inputs(65), float32)), truth(65, 64), RTOL[float32])


@every_fast_backend
def test_wide_heads_are_taken(kernels):
    assert_close(everything(kernels, cast(inputs(20, 128), float32)), truth(20, 128), RTOL[float32])


def test_the_chunked_form_is_the_recurrence():
    assert_close(everything(ChunkedKernels(), inputs(65)), truth(65, 64), RTOL[float64])


@pytest.mark.cuda
@pytest.mark.parametrize("kernels", BACKENDS[:2], ids=lambda kernels: kernels.name)
def test_plain_torch_runs_on_a_gpu(kernels):
    given = [x.cuda() for x in cast(inputs(65), float32)]
    assert_close(everything(kernels, given), truth(65, 64), RTOL[float32])


@pytest.mark.usefixtures("nan_filled")
@pytest.mark.parametrize("dtype", [bfloat16, float16])
@every_backend
def test_half_precision_costs_one_rounding_of_the_results(kernels, dtype):
    given = cast(inputs(65), dtype)
    results = everything(kernels, given)
    expected = everything(ReferenceKernels(), [x.double() for x in given])
    assert {results[name].dtype for name in ("y", *NAMES[:-1])} == {dtype}
    assert_close(results, expected, RTOL[dtype])
    # The weights of the loss reach new state and state in full precision only through the new state.
    assert_close({"new state": results["new state"]}, expected, RTOL[float32])


@pytest.mark.parametrize("decay", [LEAST_LOG_DECAY, -1e-6, 0.0])
@every_backend
def test_decays_at_their_bounds_stay_exact(kernels, decay):
    given = inputs(130, 32)
    given[1] = torch.full_like(given[1], decay)
    assert_close(everything(kernels, cast(given, float32)), everything(ReferenceKernels(), given), RTOL[float32])


@pytest.mark.parametrize("start", ["", "_s0"])
@every_backend
def test_the_golden_operator(kernels, start, data):
    golden = load_file(data / "engine" / "op_wkv7.safetensors")
    leaves = [golden[name].float().requires_grad_() for name in NAMES[:-1]]
    r, raw, k, v, a, b = leaves
    state = (golden["s0"].float() if start else torch.zeros(1, 1, 64, 64)).requires_grad_()
    y, new_state = kernels.wkv7(r, LEAST_LOG_DECAY * torch.sigmoid(raw), k, v, a, b, state)
    gradients = torch.autograd.grad(y, [*leaves, state], golden["dy"].float())
    assert_close({"y": y, "sT": new_state}, {name: golden[name + start] for name in ("y", "sT")}, RTOL[float32])
    results = {f"d{name}{start}": g for name, g in zip([*NAMES[:-1], "s0"], gradients, strict=True)}
    known = {name: g for name, g in results.items() if name in golden}
    assert len(known) == (2 if start else 6)
    # The golden gradients divide their way back through the decays, which costs a digit.
    assert_close(known, golden, 1e-5)


@every_backend
def test_pieces_of_a_batch_do_not_touch(kernels):
    given = cast(inputs(33), float32)
    together = everything(kernels, given)
    for piece in range(2):
        y, new_state = kernels.wkv7(*(x[piece : piece + 1] for x in given))
        alone = {"y": y, "new state": new_state}
        assert_close(alone, {name: together[name][piece : piece + 1] for name in alone}, RTOL[float32])


@every_backend
def test_a_piece_in_parts_is_the_piece_in_one(kernels):
    *given, state = cast(inputs(100, 32), float32)
    whole, end = kernels.wkv7(*given, state)
    parts = []
    for start, stop in ((0, 1), (1, 17), (17, 81), (81, 100)):
        y, state = kernels.wkv7(*(x[:, start:stop] for x in given), state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state, end, rtol=1e-5, atol=1e-5)


@every_backend
def test_gradients_pass_from_part_to_part_through_the_state(kernels):
    *leaves, state = [x.requires_grad_() for x in cast(inputs(40, 32), float32)]
    whole, _ = kernels.wkv7(*leaves, state)
    _, middle = kernels.wkv7(*(x[:, :23] for x in leaves), state)
    rest, _ = kernels.wkv7(*(x[:, 23:] for x in leaves), middle)
    weights = torch.randn(rest.shape, generator=torch.Generator().manual_seed(1))
    in_parts = torch.autograd.grad((rest * weights).sum(), [*leaves, state])
    in_one = torch.autograd.grad((whole[:, 23:] * weights).sum(), [*leaves, state])
    assert_close(dict(zip(NAMES, in_parts, strict=True)), dict(zip(NAMES, in_one, strict=True)), RTOL[float32])


@every_backend
def test_no_tokens_change_nothing(kernels):
    given = [x.requires_grad_() for x in cast(inputs(0, 32), float32)]
    y, new_state = kernels.wkv7(*given)
    assert y.shape == (2, 0, 2, 32)
    assert torch.equal(new_state, given[-1]) and new_state is not given[-1]
    (gradient,) = torch.autograd.grad(new_state.sum(), given[-1])
    assert torch.equal(gradient, torch.ones_like(gradient))


@every_backend
def test_the_given_state_is_left_untouched(kernels):
    *given, state = cast(inputs(17, 32), float32)
    before = state.clone()
    _, new_state = kernels.wkv7(*given, state)
    assert torch.equal(state, before)
    assert new_state.data_ptr() != state.data_ptr()


@every_backend
def test_tensors_may_lie_anyhow(kernels):
    given = cast(inputs(17), float32)
    scattered = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in given[:-1]]
    scattered = [*scattered, given[-1].mT.contiguous().mT]
    assert not any(x.is_contiguous() for x in scattered)
    straight, odd = everything(kernels, given), everything(kernels, scattered)
    assert_close(odd, straight, RTOL[float32])
    one_state = given[-1][:1, :1]
    spread, copied = one_state.expand(2, 2, 64, 64), one_state.repeat(2, 2, 1, 1)
    assert torch.equal(kernels.wkv7(*given[:-1], spread)[0], kernels.wkv7(*given[:-1], copied)[0])


@every_backend
def test_autocast_mixes_dtypes_without_harm(kernels):
    r, w, k, v, a, b, state = cast(inputs(33), float32)
    r, k, v = r.bfloat16(), k.bfloat16(), v.bfloat16()
    results = everything(kernels, [r, w, k, v, a, b, state], autocast=True)
    expected = everything(ReferenceKernels(), [x.double() for x in (r, w, k, v, a, b, state)])
    assert [results[name].dtype for name in ("y", *NAMES)] == [
        bfloat16, bfloat16, float32, bfloat16, bfloat16, float32, float32, float32,
    ]  # fmt: skip
    assert_close(results, expected, RTOL[bfloat16])
    assert_close({"new state": results["new state"]}, expected, RTOL[float32])


@every_backend
def test_a_nan_is_not_hidden(kernels):
    given = cast(inputs(20, 32), float32)
    for which, name in enumerate(NAMES):
        broken = [x.clone() for x in given]
        broken[which].view(-1)[0] = float("nan")
        y, _ = kernels.wkv7(*broken)
        assert y[0, 0, 0].isnan().any(), name
        assert y[1].isfinite().all(), name


@every_backend
def test_without_gradients_the_results_are_the_same_and_no_graph_is_kept(kernels):
    given = [x.requires_grad_() for x in cast(inputs(33), float32)]
    y, new_state = kernels.wkv7(*given)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            quiet_y, quiet_state = kernels.wkv7(*given)
        assert not quiet_y.requires_grad and not quiet_state.requires_grad
        assert torch.equal(quiet_y, y) and torch.equal(quiet_state, new_state)


def test_results_do_not_depend_on_threads_nor_on_who_else_computes():
    given = cast(inputs(257), float32)
    kernels, threads = CpuKernels(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = everything(kernels, given)
        torch.set_num_threads(3)
        with ThreadPoolExecutor(3) as callers:
            crowd = list(callers.map(lambda _: everything(copy.deepcopy(kernels), given), range(2)))
            crowd += list(callers.map(lambda _: everything(kernels, given), range(3)))
    finally:
        torch.set_num_threads(threads)
    for results in crowd:
        assert all(torch.equal(results[name], alone[name]) for name in alone)


def test_the_decay_is_the_exponential_of_w():
    w = torch.linspace(-20, 0, 64 * 64).view(1, 64, 1, 64).transpose(0, 1).contiguous()
    nothing = torch.zeros_like(w)
    _, new_state = CpuKernels().wkv7(nothing, w, nothing, nothing, nothing, nothing, torch.ones(64, 1, 64, 64))
    torch.testing.assert_close(new_state[:, 0, 0].double(), w[:, 0, 0].double().exp(), rtol=3e-7, atol=0)
    assert new_state[-1, 0, 0, -1] == 1


def test_bfloat16_results_are_the_float32_ones_rounded_to_nearest():
    given = cast(inputs(33), bfloat16)
    half, _ = CpuKernels().wkv7(*given)
    full, _ = CpuKernels().wkv7(*(x.float() for x in given))
    assert torch.equal(half, full.bfloat16())


@pytest.mark.parametrize(
    ("which", "change", "rule"),
    [
        (0, lambda x: x[0], r"r must have shape \(B, T, H, N\)"),
        (2, lambda x: x[:, :3], "k must be shaped like r"),
        (3, lambda x: x.double(), "v must be float32, bfloat16 or float16"),
        (4, lambda x: x.long(), "a must be float32, bfloat16 or float16"),
        (5, lambda x: x.to("meta"), "b must be on cpu"),
        (6, lambda x: x[:1], "state must have shape"),
        (6, lambda x: x.bfloat16(), "state must be float32"),
        (6, lambda x: x.to("meta"), "state must be on cpu"),
    ],
)
@every_backend
def test_a_broken_contract_is_told(kernels, which, change, rule):
    given = cast(inputs(4, 32), float32)
    given[which] = change(given[which])
    with pytest.raises(KernelError, match=rule):
        kernels.wkv7(*given)


def test_the_cpu_kernels_tell_what_they_do_not_take():
    with pytest.raises(KernelError, match="multiple of 32 channels, not 16"):
        CpuKernels().wkv7(*cast(inputs(4, 16), float32))
    with pytest.raises(KernelError, match="choose 'reference' or 'torch' for float64"):
        CpuKernels().wkv7(*inputs(4, 32))
    with pytest.raises(KernelError, match="run on the CPU, not on meta"):
        CpuKernels().wkv7(*(x.to("meta") for x in cast(inputs(4, 32), float32)))
