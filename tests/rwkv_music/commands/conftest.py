"""A stand-in for every model that a command opens."""

import pytest

from rwkv_music.engine import Engine


@pytest.fixture
def engine(scripted, monkeypatch):
    """`engine(text)` puts an engine that writes that text in the place of every model."""

    def put(script: str = "GABc d4|edBA G4|c2BA BGAF|G8|", on_advance=lambda count: None):
        writer = scripted(script)
        writer.device, writer.dtype = "cpu", "torch.float32"
        plain = writer.advance

        def advance(ids, state=None, all_logits=False):
            on_advance(state or 0)
            return plain(ids, state)

        writer.advance = advance
        monkeypatch.setattr(Engine, "open", lambda *given, **named: writer)
        monkeypatch.setattr("rwkv_music.commands.request.find_model", lambda name: type("Files", (), {"config": None}))
        return writer

    return put
