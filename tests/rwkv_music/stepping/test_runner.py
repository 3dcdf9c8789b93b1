"""The CPU's own runner computes what the official implementation computes, and always the same bits."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rwkv_music.checkpoint.load import load_weights
from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.official import to_official
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import read_spec, shapes_of, tidy
from rwkv_music.stepping import runner as stepping_runner
from rwkv_music.stepping.runner import CpuRunner
from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.cpu import pack, program
from rwkv_music_kernels.cpu.team import Team

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
DTYPES = ["float32", "bfloat16", "int8"]


@pytest.fixture(scope="module", params=VERSIONS)
def official(request: pytest.FixtureRequest, data: Path) -> tuple[Spec, CpuRunner, dict[str, Tensor]]:
    folder = data / f"engine/v{request.param}"
    tensors = load_weights(folder / "model.pth")
    spec = read_spec(shapes_of(tensors))
    return spec, CpuRunner(spec, tidy(tensors, spec), "float32"), load_file(folder / "golden.safetensors")


@pytest.fixture(scope="module", params=VERSIONS)
def invented(request: pytest.FixtureRequest) -> Spec:
    return standard_spec(request.param, 2, 96, 150, head_size=32)


@pytest.fixture(autouse=True)
def nan_everywhere(monkeypatch: pytest.MonkeyPatch):
    """Scratch memory, logits and the new state begin as no numbers."""
    for name in ("empty", "empty_like"):
        made = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, made=made, **k: filled(made(*a, **k)))


def filled(x: Tensor) -> Tensor:
    return x.fill_(torch.nan) if x.is_floating_point() else x


def same(one: State, other: State) -> bool:
    return all(torch.equal(x, y) for x, y in zip(one.tensors().values(), other.tensors().values(), strict=True))


def test_logits_and_state_are_the_official_ones(official):
    spec, runner, golden = official
    logits, state = runner.forward(golden["tokens"][None], State.zeros(spec), True)
    torch.testing.assert_close(logits[0], golden["logits"], rtol=0, atol=1e-4)
    names = ("att_x", "att_aa", "att_bb", "att_pp", "ffn_x") if spec.version == "4" else ("att_x", "att_kv", "ffn_x")
    expected = [golden[f"state.{layer}.{name}"] for layer in range(2) for name in names]
    for found, truth in zip(to_official(state, spec), expected, strict=True):
        torch.testing.assert_close(found, truth, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_cut_any_batch_and_any_threads_give_the_same_bits(invented, dtype, monkeypatch):
    runner = CpuRunner(invented, RandomWeights(invented), dtype)
    draw = torch.Generator().manual_seed(4)
    ids = torch.randint(0, 150, (11, 23), generator=draw)
    together, after = runner.forward(ids, State.zeros(invented, 11), True)
    assert torch.isfinite(together).all()
    for row in (0, 7, 10):
        alone, own = runner.forward(ids[row : row + 1], State.zeros(invented), True)
        assert torch.equal(alone[0], together[row]) and same(own, after.pick([row]))
    state, pieces = State.zeros(invented, 11), []
    for cut in ids.split([1, 1, 2, 3, 7, 9], dim=1):
        logits, state = runner.forward(cut, state, True)
        pieces.append(logits)
    assert torch.equal(torch.cat(pieces, dim=1), together) and same(state, after)
    last, _ = runner.forward(ids, State.zeros(invented, 11), False)
    assert torch.equal(last[:, 0], together[:, -1])
    for threads in (2, 3):
        monkeypatch.setattr(Team, "size", lambda self, work, threads=threads: threads)
        again, state = runner.forward(ids, State.zeros(invented, 11), True)
        assert torch.equal(again, together) and same(state, after)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_piece_among_hundreds_is_the_same_bits(invented, dtype):
    runner = CpuRunner(invented, RandomWeights(invented), dtype)
    ids = torch.randint(0, 150, (301, 1), generator=torch.Generator().manual_seed(4))
    together, after = runner.forward(ids, State.zeros(invented, 301), True)
    for row in (0, 63, 64, 255, 256, 300):
        alone, own = runner.forward(ids[row : row + 1], State.zeros(invented), True)
        assert torch.equal(alone[0], together[row]) and same(own, after.pick([row]))


def test_long_input_goes_in_turns_to_the_same_bits(invented):
    runner = CpuRunner(invented, RandomWeights(invented), "float32")
    ids = torch.randint(0, 150, (1, 401), generator=torch.Generator().manual_seed(5))
    whole, state = runner.forward(ids, State.zeros(invented), False)
    _, first = runner.forward(ids[:, :300], State.zeros(invented), False)
    again, second = runner.forward(ids[:, 300:], first, False)
    assert torch.equal(whole, again) and same(state, second)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 256, 257, 258, 512, 513, 600])
def test_a_prompt_ends_as_it_does_when_every_logit_is_asked_for(invented, length, dtype, monkeypatch):
    monkeypatch.setattr(stepping_runner, "_scratch", lambda rows, pitch: torch.full((rows, pitch), torch.nan))
    runner = CpuRunner(invented, RandomWeights(invented), dtype)
    ids = torch.randint(0, 150, (1, length + 5), generator=torch.Generator().manual_seed(8))
    _, begun = runner.forward(ids[:, :5], State.zeros(invented), True)
    every, state = runner.forward(ids[:, 5:], begun, True)
    last, after = runner.forward(ids[:, 5:], begun, False)
    assert torch.isfinite(last).all()
    assert torch.equal(last[:, 0], every[:, -1]) and same(state, after)


def test_the_given_state_stays_as_it_was(invented):
    runner = CpuRunner(invented, RandomWeights(invented), "float32")
    _, state = runner.forward(torch.tensor([[1, 2, 3]]), State.zeros(invented), False)
    before = state.clone()
    runner.forward(torch.tensor([[4, 5]]), state, False)
    assert same(state, before)


@pytest.mark.parametrize("version", ["4", "6", "7"])
def test_ranks_and_vocabularies_of_any_size(version):
    spec = standard_spec(version, 2, 64, 37, head_size=32)
    from dataclasses import replace

    from rwkv_music.model.v6 import Rwkv6Spec
    from rwkv_music.model.v7 import Rwkv7Spec
    from rwkv_music.model.versions import build_model
    from rwkv_music_kernels.reference import ReferenceKernels

    if isinstance(spec, Rwkv6Spec):
        spec = replace(spec, mix_rank=5, decay_rank=9)
    if isinstance(spec, Rwkv7Spec):
        spec = replace(spec, decay_rank=1, rate_rank=7, value_rank=33, gate_rank=40)
    weights, ids = dict(RandomWeights(spec)), torch.tensor([[5, 36, 0, 11, 11]])
    found, _ = CpuRunner(spec, weights, "float32").forward(ids, State.zeros(spec), True)
    truth, _ = build_model(spec, weights, ReferenceKernels()).forward(ids, State.zeros(spec))
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 31, 33, 300])
def test_what_fits_bfloat16_is_computed_to_the_same_bits_as_float32(invented, length, monkeypatch):
    monkeypatch.setattr(program, "has_tiles", lambda: False)
    weights = RandomWeights(invented, dtype=torch.bfloat16)
    ids = torch.randint(0, 150, (1, length), generator=torch.Generator().manual_seed(7))
    found, after = CpuRunner(invented, weights, "float32").forward(ids, State.zeros(invented), True)
    for module in (pack, program):
        monkeypatch.setattr(module, "fits_bfloat16", lambda matrix: False)
    truth, state = CpuRunner(invented, weights, "float32").forward(ids, State.zeros(invented), True)
    assert torch.equal(found, truth) and same(after, state)


def test_in_tiles_it_is_computed_as_exactly(invented, monkeypatch):
    weights = RandomWeights(invented, dtype=torch.bfloat16)
    ids = torch.randint(0, 150, (1, 300), generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(program, "has_tiles", lambda: True)
    found, after = CpuRunner(invented, weights, "float32").forward(ids, State.zeros(invented), True)
    monkeypatch.setattr(program, "has_tiles", lambda: False)
    truth, state = CpuRunner(invented, weights, "float32").forward(ids, State.zeros(invented), True)
    assert not torch.equal(found, truth)
    torch.testing.assert_close(found, truth, rtol=0, atol=1e-5)
    torch.testing.assert_close(after.wkv, state.wkv, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype, within", [("bfloat16", 1e-2), ("int8", 1e-2)])
def test_small_number_types_stay_near_float32(invented, dtype, within):
    ids = torch.randint(0, 150, (1, 50), generator=torch.Generator().manual_seed(6))
    weights = RandomWeights(invented)
    exact, _ = CpuRunner(invented, weights, "float32").forward(ids, State.zeros(invented), True)
    rough, _ = CpuRunner(invented, weights, dtype).forward(ids, State.zeros(invented), True)
    exact, rough = exact.log_softmax(-1), rough.log_softmax(-1)
    assert 0 < (exact.exp() * (exact - rough)).sum(-1).mean() < within


def test_widths_the_machine_cannot_take_are_told():
    spec = standard_spec("7", 1, 48, 20, head_size=16)
    with pytest.raises(KernelError, match="multiples of 32"):
        CpuRunner(spec, RandomWeights(spec), "float32")
