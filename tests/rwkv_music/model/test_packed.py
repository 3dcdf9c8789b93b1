"""Packed documents, carried windows and blocks one by one or twice are the same mathematics as one piece at a time."""

import pytest
import torch
from torch import Tensor

from rwkv_music.model.invented import RandomWeights, standard_spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model
from rwkv_music_kernels.choose import choose_kernels
from rwkv_music_kernels.contract import KernelError

VERSIONS = ["4", "5.0", "5.1", "5.2", "6", "7"]
# An empty document at either end and inside, one of a single token, and lengths that no chunk divides.
LENGTHS = [0, 5, 0, 1, 19, 0]
ENDS = torch.tensor([0, *LENGTHS]).cumsum(0)
# What is asked for is 1e-6; float64 gives it with room, float32 rounds at about that.
CLOSE = {torch.float64: 1e-11, torch.float32: 1e-6}

every_version = pytest.mark.parametrize("version", VERSIONS)


def model_of(version: str, kernels: str = "reference", kind: torch.dtype = torch.float64) -> Model:
    spec = standard_spec(version, 2, 64, 32)
    weights = {name: tensor.to(kind).requires_grad_() for name, tensor in RandomWeights(spec).items()}
    return build_model(spec, weights, choose_kernels("cpu", kernels))


def start_of(model: Model, batch: int) -> State:
    """A state that is not blank, to be differentiated by."""
    kind = model.weights["emb.weight"].dtype
    torch.manual_seed(5)
    blank = State.zeros(model.spec, batch)
    shifts = [torch.randn(blank.time_shift.shape, dtype=kind) for _ in range(2)]
    wkv = 0.3 * torch.randn(blank.wkv.shape, dtype=kind)
    if model.spec.version == "4":
        wkv[:, :, 1] = wkv[:, :, 1].exp()
    return State(*(tensor.requires_grad_() for tensor in (*shifts, wkv)))


def tokens(count: int) -> Tensor:
    return torch.randint(0, 32, (1, count), generator=torch.Generator().manual_seed(count))


def loss_of(logits: Tensor, state: State) -> Tensor:
    """A sum over logits and state with fixed random weights."""
    parts = [logits, *(getattr(state, name) for name in ("time_shift", "channel_shift", "wkv"))]
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in parts]
    return torch.stack([(part.double() * weight).sum() for part, weight in zip(parts, weights, strict=True)]).sum()


def gradients(model: Model, start: State, logits: Tensor, state: State) -> dict[str, Tensor]:
    leaves = {**model.weights, "time_shift": start.time_shift, "channel_shift": start.channel_shift, "wkv": start.wkv}
    found = torch.autograd.grad(loss_of(logits, state), list(leaves.values()), allow_unused=True)
    assert all(gradient is not None for gradient in found)
    return {"logits": logits, "new wkv": state.wkv, **dict(zip(leaves, found, strict=True))}


def one_by_one(model: Model, ids: Tensor, start: State) -> tuple[Tensor, State]:
    logits, states = [], []
    for number, (first, last) in enumerate(zip(ENDS[:-1].tolist(), ENDS[1:].tolist(), strict=True)):
        state = start.pick([number])
        if last > first:
            own, state = model.forward(ids[:, first:last], state)
            logits.append(own)
        states.append(state)
    return torch.cat(logits, dim=1), State.stack(states)


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], most: float) -> None:
    for name, right in expected.items():
        difference, size = (x.detach().double().norm() for x in (found[name] - right, right))
        assert difference <= most * size + 1e-30, f"{name}: relative error {difference / size:.1e}"


@every_version
@pytest.mark.parametrize(
    "kernels, kind", [("reference", torch.float64), ("torch", torch.float32), ("cpu", torch.float32)]
)
def test_packed_documents_are_read_as_one_by_one(version, kernels, kind):
    model, ids = model_of(version, kernels, kind), tokens(int(ENDS[-1]))
    start = start_of(model, len(LENGTHS))
    expected = gradients(model, start, *one_by_one(model, ids, start))
    found = gradients(model, start, *model.forward(ids, start, cu_seqlens=ENDS))
    assert found["logits"].dtype == kind
    assert_same(found, expected, CLOSE[kind])


@every_version
@pytest.mark.parametrize("kernels, kind", [("reference", torch.float64), ("cpu", torch.float32)])
def test_windows_with_a_carried_state_are_one_pass(version, kernels, kind):
    model, ids = model_of(version, kernels, kind), tokens(21)
    start = start_of(model, 1)
    expected = gradients(model, start, *model.forward(ids, start))
    # In float32 a gradient may be the small rest of large sums, and what was added up window by window rounds anew.
    most = CLOSE[kind] * (1 if kind == torch.float64 else 10)
    state, logits = start, []
    for window in ids.split([1, 7, 10, 3], dim=1):
        own, state = model.forward(window, state, cu_seqlens=torch.tensor([0, window.shape[1]]))
        logits.append(own)
    assert_same(gradients(model, start, torch.cat(logits, dim=1), state), expected, most)


@every_version
def test_a_document_knows_nothing_of_the_one_before(version):
    model, ids = model_of(version), tokens(9)
    state, ends = State(*(x.detach() for x in vars(start_of(model, 2)).values())), torch.tensor([0, 4, 9])
    other = torch.cat([ids[:, :4].flip(1), ids[:, 4:]], dim=1)
    with torch.no_grad():
        first, second = (model.forward(given, state, cu_seqlens=ends)[0] for given in (ids, other))
    assert not torch.equal(first[:, :4], second[:, :4])
    assert torch.equal(first[:, 4:], second[:, 4:])


@every_version
def test_blocks_computed_again_give_the_same_bits(version):
    model, ids = model_of(version, "cpu", torch.float32), tokens(int(ENDS[-1]))
    start = start_of(model, len(LENGTHS))
    asked: list[int] = []

    def drop(x: Tensor, place: int) -> Tensor:
        asked.append(place)
        kept = torch.rand(x.shape, generator=torch.Generator().manual_seed(place)) < 0.8
        return x * kept

    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = gradients(model, start, *model.forward(ids, start, drop, ENDS))
    assert asked == [0, 1, 2, 3]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(model, start, *model.forward(ids, start, drop, ENDS, recompute=True))
    # The upper block is computed again first.
    assert asked[4:] == [0, 1, 2, 3, 2, 3, 0, 1]
    assert all(torch.equal(found[name], right) for name, right in expected.items())


def test_what_is_computed_again_is_not_kept():
    model, ids = model_of("7", "torch", torch.float32), tokens(64)

    def kept(recompute: bool) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(x.numel()), x)[1], lambda x: x):
            model.forward(ids, State.zeros(model.spec), recompute=recompute)
        return sum(sizes)

    assert kept(True) < kept(False) / 4


@every_version
def test_a_model_is_its_blocks(version):
    model, ids = model_of(version), tokens(6)
    start = start_of(model, 1)
    expected, state = model.forward(ids, start)
    x, v_first = model.embed(ids), None
    for layer in range(2):
        x, memory, v_first = model.block(layer, x, start.of_layer(layer), v_first)
        assert all(torch.equal(found, right) for found, right in zip(memory, state.of_layer(layer), strict=True))
    assert torch.equal(model.read_out(x), expected)


@pytest.mark.parametrize(
    ("ids", "rows", "ends", "rule"),
    [
        (tokens(4), 2, torch.tensor([0, 4]), r"last must have shape \(1, 64\)"),
        (tokens(4).expand(2, -1), 1, torch.tensor([0, 4]), "packed documents lie in one row"),
        (tokens(4), 1, torch.tensor([0, 4], dtype=torch.int32), "cu_seqlens must be int64"),
    ],
)
def test_a_broken_contract_is_told(ids, rows, ends, rule):
    model = model_of("7")
    with pytest.raises(KernelError, match=rule):
        model.forward(ids, start_of(model, rows), cu_seqlens=ends)


@pytest.mark.parametrize("ends", [[0, 3], [0, 5, 4], [1, 4], [0, 6, 5, 4], [0, -2, 4]])
def test_ends_that_lie_outside_are_told(ends):
    kernels, k = choose_kernels("cpu", "cpu"), torch.ones(1, 4, 32)
    state = torch.ones(len(ends) - 1, 3, 32)
    with pytest.raises(KernelError, match="must start at 0, never fall and end at 4"):
        kernels.wkv4(k, k, -k[0, 0], k[0, 0], state, torch.tensor(ends))
