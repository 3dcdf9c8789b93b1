"""Gradients added up in float64 are the same bits in whatever order their micro-batches come."""

from itertools import permutations

import pytest
import torch

from rwkv_music_training.scale.layout import Layout
from rwkv_music_training.scale.parallel import setup
from rwkv_music_training.scale.summing import InFloat64, WhileReading

# Their sum depends on the order in float32: 1 is lost beside the first two, unless they are gone before it comes.
SIZES = (1e8, -1e8, 1.0)


class Linear(torch.nn.Linear):
    """Has a parameter that nothing reads, and one that does not learn."""

    def __init__(self):
        super().__init__(1, 1, bias=False)
        self.unread = torch.nn.Parameter(torch.ones(2))
        self.fixed = torch.nn.Parameter(torch.ones(2), requires_grad=False)


def gradient(sums, sizes, threads) -> torch.Tensor:
    module = Linear()
    parallel = setup(Layout(accelerator="cpu", sums=sums))
    parallel.gradients(module, sizes, 3, lambda size: ((module.weight * size).sum(), 1), threads)
    assert module.unread.grad is None and module.fixed.grad is None
    assert module.weight.grad is not None and module.weight.grad.dtype == torch.float32
    parallel.close()
    return module.weight.grad


@pytest.mark.parametrize("threads", [1, 2])
def test_the_order_of_micro_batches_does_not_matter(threads):
    found = {gradient("auto", sizes, threads).item() for sizes in permutations(SIZES)}
    assert found == {torch.tensor(1 / 3).item()}


@pytest.mark.parametrize("threads", [1, 2])
def test_in_float32_it_does(threads):
    assert gradient("float32", SIZES, threads).item() == torch.tensor(1 / 3).item()
    assert gradient("float32", SIZES[1:] + SIZES[:1], threads).item() == 0


@pytest.mark.parametrize("way", [InFloat64, WhileReading])
def test_what_a_step_before_left_is_not_added_to(way):
    module = torch.nn.Linear(1, 1, bias=False)
    for _ in range(2):
        summing = way(module, 1)
        with summing.reading(last=True):
            (3 * module.weight.sum()).backward()
        summing.leave(2.0)
        assert module.weight.grad is not None and module.weight.grad.item() == 1.5
