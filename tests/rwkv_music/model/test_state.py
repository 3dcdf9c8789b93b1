"""A state is a value: copied, stacked, picked and written down without a change."""

import pytest
import torch

from rwkv_music.model.initial import new_spec
from rwkv_music.model.state import State, StateError

SPEC = new_spec(2, 64, 32)


def random_state(batch: int = 1, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    blank = State.zeros(SPEC, batch)
    return State(
        *(torch.randn(part.shape, generator=generator) for part in (blank.time_shift, blank.channel_shift, blank.wkv))
    )


def same(one: State, other: State) -> bool:
    return all(torch.equal(one.tensors()[name], other.tensors()[name]) for name in one.tensors())


def test_a_clone_shares_no_memory():
    state = random_state()
    copy = state.clone()
    copy.wkv.zero_()
    assert state.wkv.any()


def test_picked_rows_of_a_stack_are_the_rows():
    first, second = random_state(seed=1), random_state(2, seed=2)
    stack = State.stack([first, second])
    assert stack.batch == 3
    assert same(stack.pick([0]), first)
    assert same(stack.pick([1, 2]), second)
    assert same(stack.pick([2, 1]), second.pick([1, 0]))


def test_written_tensors_come_back():
    state = random_state(3)
    assert same(State.from_tensors(state.tensors(), SPEC), state)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"wkv": torch.zeros(2, 1, 1, 32, 32)}, "'wkv' is torch.float32"),
        ({"wkv": torch.zeros(5)}, "'wkv' is torch.float32"),
        ({"time_shift": torch.zeros(2, 1, 64, dtype=torch.float64)}, "'time_shift' is torch.float64"),
        ({"channel_shift": torch.full((2, 1, 64), torch.nan)}, "not finite"),
    ],
)
def test_tensors_of_another_model_are_refused(change, reason):
    with pytest.raises(StateError, match=reason):
        State.from_tensors(random_state().tensors() | change, SPEC)


def test_a_missing_tensor_is_named():
    tensors = random_state().tensors()
    del tensors["channel_shift"]
    with pytest.raises(StateError, match="no tensor named 'channel_shift'"):
        State.from_tensors(tensors, SPEC)
