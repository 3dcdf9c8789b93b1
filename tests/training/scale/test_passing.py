"""How a row is shared: every position once, every document begun where it begins."""

import numpy as np
import pytest
import torch

from rwkv_music_training.learning.packing import Batch, Lanes, pack
from rwkv_music_training.scale.layout import Layout, LayoutError
from rwkv_music_training.scale.parallel import Parallel, WorkerLost, setup
from rwkv_music_training.scale.passing import Passing


def row(*lengths: int) -> Batch:
    """Documents of so many positions."""
    return pack([np.arange(length + 1) for length in lengths], number=3)


def stretches(batch: Batch, size: int) -> list[Batch]:
    return [Passing(list(range(size)), rank, None).cut(batch) for rank in range(size)]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("lengths", [(64,), (10, 54), (32, 32), (1, 2, 3, 50, 40), (100,), (5,)])
def test_stretches_are_the_row_again(lengths, size):
    batch = row(*lengths)
    parts = stretches(batch, size)
    for name in ("ids", "targets", "counted"):
        joined = torch.cat([getattr(part, name) for part in parts], dim=1)
        assert torch.equal(joined, getattr(batch, name))
    assert sum(part.tokens for part in parts) == batch.tokens
    assert all(part.number == 3 for part in parts)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("lengths", [(64,), (10, 54), (32, 32), (16, 17, 31), (1, 2, 3, 50, 40)])
def test_documents_begin_where_they_began_or_go_on(lengths, size):
    batch = row(*lengths)
    begun, offset = set(batch.cu_seqlens.tolist()), 0
    for place, part in enumerate(stretches(batch, size)):
        cuts = part.cu_seqlens + offset
        assert part.continues == (int(cuts[0]) not in begun)
        assert set(cuts[1:-1].tolist()) == {cut for cut in begun if cuts[0] < cut < cuts[-1]}
        first = int(torch.searchsorted(batch.cu_seqlens, cuts[0], right=True)) - 1
        assert part.members.tolist() == batch.members[first : first + part.documents].tolist()
        assert place > 0 or not part.continues
        offset += part.ids.shape[1]


def test_long_stretches_begin_at_multiples_of_16():
    assert [part.ids.shape[1] for part in stretches(row(144), 4)] == [32, 32, 32, 48]


def test_a_carried_state_enters_with_the_first_stretch_alone():
    one = torch.tensor([0])
    batch = row(30, 34)
    lanes = Lanes(numbers=torch.tensor([5]), first=one, last=torch.tensor([1]), goes_on=torch.tensor([True]))
    parts = stretches(Batch(**{**vars(batch), "lanes": lanes}), 2)
    assert [part.lanes.goes_on.tolist() for part in parts if part.lanes] == [[True], [False]]
    assert [part.lanes.last.tolist() for part in parts if part.lanes] == [[1], [0]]
    assert [part.continues for part in parts] == [False, True]


def test_what_cannot_be_shared_is_told():
    batch = row(10)
    with pytest.raises(LayoutError, match="16 positions cannot be shared by 17 processes"):
        stretches(batch, 17)
    pair = torch.tensor([0, 1])
    with pytest.raises(LayoutError, match="one lane a micro-batch"):
        stretches(Batch(**{**vars(batch), "lanes": Lanes(pair, pair, pair, pair > 0)}), 2)


@pytest.fixture
def of_four() -> Parallel:
    """What one of four processes knows, without the other three."""
    alone = setup(Layout(accelerator="cpu"))
    alone.world, alone.readers = 4, 4
    return alone


def test_a_step_must_have_a_micro_batch_for_each_process(of_four):
    of_four.check(4)
    of_four.check(6)
    with pytest.raises(LayoutError, match="data.pieces must be at least 4, one for each process, not 3"):
        of_four.check(3)


def test_a_broken_connection_is_a_lost_process_and_other_errors_are_not(of_four):
    with (
        pytest.raises(
            WorkerLost, match=r"^process 0 of 4 lost touch with another \(Connection closed by peer .*--resume"
        ),
        of_four.watch(),
    ):
        raise RuntimeError("[../gloo/transport/tcp/pair.cc:547]\nConnection closed by peer [127.0.0.1]:23117")
    with pytest.raises(RuntimeError, match="out of memory"), of_four.watch():
        raise RuntimeError("CUDA out of memory")


def test_alone_sums_are_what_they_are():
    alone = setup(Layout(accelerator="cpu"))
    assert alone.sums(0.1, 2.0) == [0.1, 2.0]
    assert (alone.first, alone.readers, alone.passing) == (True, 1, None)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_gradient_is_that_of_a_position_of_the_whole_step(threads):
    module = torch.nn.Linear(3, 1, bias=False)
    pieces = [torch.randn(n, 3, generator=torch.Generator().manual_seed(n)) for n in (2, 5, 4)]
    dealt = setup(Layout(accelerator="cpu")).gradients(
        module, pieces, len(pieces), lambda piece: ((module(piece) ** 2).sum(), len(piece)), threads, others=(7.0,)
    )
    whole = torch.cat(pieces)
    loss = (module(whole) ** 2).sum() / len(whole)
    (expected,) = torch.autograd.grad(loss, list(module.parameters()))
    assert dealt.loss / dealt.count == pytest.approx(loss.item(), rel=1e-6)
    assert (dealt.count, dealt.others) == (11, (7.0,))
    torch.testing.assert_close(module.weight.grad, expected)
