"""A stand-in for every model that a command opens."""

from pathlib import Path

import pytest

from rwkv_music.engine import Engine
from rwkv_music.library import ModelConfig, ModelFiles


@pytest.fixture
def engine(scripted, monkeypatch):
    """`engine(text)` puts an engine that writes that text in the place of every model."""

    def put(script: str = "GABc d4|edBA G4|c2BA BGAF|G8|", on_advance=lambda count: None):
        writer = scripted(script)
        writer.device, writer.dtype = "cpu", "torch.float32"
        plain = writer.advance

        def advance(ids, state=None, all_logits=False):
            on_advance(0 if state is None else int(state.wkv.max()))
            return plain(ids, state)

        writer.advance = advance
        monkeypatch.setattr(Engine, "open", lambda *given, **named: writer)
        files = ModelFiles(Path("scripted"), ModelConfig("scripted", "abc"))
        for module in ("commands.request", "prompts"):
            monkeypatch.setattr(f"rwkv_music.{module}.find_model", lambda name: files)
        return writer

    return put
