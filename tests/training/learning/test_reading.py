"""The validation reading: every document whole, whatever lanes, threads and processes share the work."""

from typing import Any

import numpy as np
import pytest
import torch

from rwkv_music_training.corpus.documents import Listed
from rwkv_music_training.learning.packing import Batch
from rwkv_music_training.learning.reading import Readings

LENGTHS = (5, 1500, 40, 2, 2100, 333, 64)


def what_came_before(batch: Batch, state: Any) -> tuple[torch.Tensor, Any]:
    """A cost of as many nats as the document has positions before this one; the state is how many that were."""
    assert batch.lanes is not None
    costs = torch.zeros(batch.ids.shape[1])
    edges = batch.cu_seqlens.tolist()
    seen = 0
    for number, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        goes_on = number == 0 and bool(batch.lanes.goes_on[0])
        first = state if goes_on else 0
        costs[begin:end] = torch.arange(first, first + end - begin)
        seen = first + end - begin
    return costs, seen


@pytest.mark.parametrize("lanes", [1, 2, 4, 50])
@pytest.mark.parametrize(("readers", "threads"), [(1, 1), (1, 3), (2, 1)])
def test_a_document_is_read_from_its_beginning_to_its_end(lanes, readers, threads):
    documents = Listed([np.arange(length) % 7 for length in LENGTHS], ["even", "odd"] * 3 + ["even"])
    readings = Readings(documents, 1_000_000, lanes)
    parts = [
        readings.read(what_came_before, torch.device("cpu"), reader, readers, threads) for reader in range(readers)
    ]
    positions = [length - 1 for length in LENGTHS]
    nats = [count * (count - 1) / 2 for count in positions]
    assert parts[0].names == ("even", "odd")
    assert np.sum([part.nats for part in parts], axis=0).tolist() == [sum(nats[::2]), sum(nats[1::2])]
    assert np.sum([part.positions for part in parts], axis=0).tolist() == [sum(positions[::2]), sum(positions[1::2])]
