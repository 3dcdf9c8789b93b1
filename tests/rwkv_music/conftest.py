"""Engines for tests: one that writes what it is told, and a tiny real one."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from rwkv_music.engine import Engine
from rwkv_music.model.state import State


class ScriptedEngine:
    """Takes any prompt, then writes a script, a character a token, and at last the end of the tune (3).

    Its state is how far it has come. Where the next character may not be written, it says z.
    """

    def __init__(self, script: str, sure: float = 60.0):
        self.script = script
        self.sure = sure
        self.spec = SimpleNamespace(vocabulary=128, layers=1, width=64)
        self.hash = "0" * 64
        self.device, self.dtype = "cpu", "float32"
        self.config = None
        self.heard: list[int] = []

    def advance(self, ids, state=None, all_logits=False):
        rows = torch.as_tensor(ids)
        single = rows.dim() == 1
        if state is None:
            self.heard = list(ids)
            places = torch.zeros(1 if single else len(rows))
        else:
            places = state.wkv[0, :, 0] + rows.shape[-1]
        logits = torch.stack([self._logits(int(place)) for place in places])
        places = places[None, :, None]
        return logits[0] if single else logits, State(places, places, places)

    def _logits(self, place: int) -> torch.Tensor:
        logits = torch.zeros(128)
        logits[ord("z")] = self.sure / 2
        logits[ord(self.script[place]) if place < len(self.script) else 3] = self.sure
        return logits


@pytest.fixture
def scripted():
    """`scripted(text)` is an engine that writes that text."""
    return ScriptedEngine


@pytest.fixture(scope="module")
def tiny_engine(tiny_model) -> Iterator[Engine]:
    """A random RWKV-7 of two layers, on one thread: waking a second one would take longer than its tokens."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Engine.open(tiny_model)
    torch.set_num_threads(threads)
