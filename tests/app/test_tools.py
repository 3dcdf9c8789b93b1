"""Tools that are called by name keep no piece, whatever becomes of it."""

import asyncio
import threading
from types import SimpleNamespace

import gradio as gr
import pytest

from rwkv_music.sampling import MAX_SEED
from rwkv_music_app.page.tools import tools

OWNER = "0123456789abcdef" * 4
REQUEST = SimpleNamespace(headers={"cookie": f"rwkv_music={OWNER}"})


@pytest.fixture
def forgotten(studio, monkeypatch) -> list[threading.Thread]:
    """The threads in which pieces were let go of."""
    threads, forget = [], studio.store.forget
    monkeypatch.setattr(studio.store, "forget", lambda *of: (threads.append(threading.current_thread()), forget(*of)))
    return threads


def test_what_was_made_is_not_kept(studio, forgotten):
    compose = tools(studio)[0]
    assert asyncio.run(compose(REQUEST, bars=1, seed=1)).startswith("X:1")
    assert studio.store.told(OWNER) == []
    assert len(forgotten) == 1 and forgotten[0] is not threading.main_thread()


def test_what_cannot_be_made_is_not_kept(studio, forgotten):
    with pytest.raises(gr.Error, match="a seed is at most"):
        asyncio.run(tools(studio)[0](REQUEST, seed=MAX_SEED))
    assert studio.store.told(OWNER) == [] and len(forgotten) == 1


def test_what_nobody_waits_for_is_not_kept(studio):
    async def leave() -> None:
        asked = asyncio.create_task(tools(studio)[0](REQUEST, bars=256, seed=1, end=False))
        while not studio._growths:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(leave())
    assert studio.store.told(OWNER) == []
