"""What programs and assistants may call by name: a tune as ABC text in, a tune as ABC text out.

`gradio_client` calls them as /compose, /continue_tune and /check_tune; over MCP they are tools, of which their
docstrings tell. They keep no piece: what was made is what is answered.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gradio as gr
from gradio.events import api

from rwkv_music.errors import UserError
from rwkv_music.library import DEFAULT_MODEL
from rwkv_music_app.checking import faults_of
from rwkv_music_app.gate import owner_of
from rwkv_music_app.growth import Growth
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import MINE, told
from rwkv_music_app.wants import Begin, GoOn

# Seconds between two looks whether the tune is there.
PAUSE = 0.02
# What is answered for a tune in which nothing is wrong.
SOUND = "ok"


def add_tools(studio: Studio) -> None:
    """Offer them, where a page is being laid out."""
    for tool in tools(studio):
        api(tool, api_name=tool.__name__, concurrency_limit=None)


def tools(studio: Studio) -> list[Callable[..., Any]]:
    """The functions."""

    async def compose(
        request: gr.Request,
        kind: str = "jig",
        key: str = "D",
        meter: str = "",
        title: str = "",
        bars: int = 16,
        seed: int = -1,
        end: bool = True,
    ) -> str:
        """Compose a new folk tune, and answer with it in ABC notation, ready to be shown or played.

        Args:
            kind: the kind of tune: reel, jig, slip jig, hornpipe, polka, waltz, mazurka, minuet, march or air
            key: the key in ABC: a note, # or b, and a mode, such as G, Bb, Am, Edor or Amix
            meter: such as 6/8 or 4/4; empty is what suits the kind
            title: what the tune is called; empty finds a plain title
            bars: how many bars, 1 to 256
            seed: the same number makes the same tune again; -1 draws one
            end: bring the tune to its end after these bars, rather than cut it there

        Returns:
            the tune in ABC notation
        """
        begin = Begin(DEFAULT_MODEL, rhythm=kind, key=key, meter=meter, title=title)
        return await _made(studio, request, begin, _how(bars, seed, end))

    async def continue_tune(request: gr.Request, abc: str, bars: int = 8, seed: int = -1, end: bool = False) -> str:
        """Continue a tune given in ABC notation, in its own key, meter and manner; the answer holds the whole tune.

        Args:
            abc: one tune in ABC notation, with its header (X:, M:, L:, K:) and at least some notes; one melody
            bars: how many further bars, 1 to 256
            seed: the same number makes the same music again; -1 draws one
            end: bring the tune to its end after these bars, rather than cut it there

        Returns:
            the tune that was given and the new bars after it, in ABC notation
        """
        if not abc.strip():
            raise gr.Error("give a tune in ABC notation to continue", print_exception=False)
        return await _made(studio, request, Begin(DEFAULT_MODEL, text=abc), _how(bars, seed, end))

    def check_tune(abc: str) -> str:
        """Check a tune in ABC notation: whether it can be read, and whether every bar has the length of its meter.

        Args:
            abc: one tune in ABC notation

        Returns:
            "ok", or one line for each mistake, with its line and column
        """
        return "\n".join(faults_of(abc)) or SOUND

    return [compose, continue_tune, check_tune]


def _how(bars: int, seed: int, end: bool) -> Callable[[], GoOn]:
    return lambda: GoOn(bars=int(bars), seed=None if seed < 0 else int(seed), end=bool(end))


async def _made(studio: Studio, request: gr.Request, begin: Begin, how: Callable[[], GoOn]) -> str:
    """The tune, of which the studio keeps nothing. Raises gr.Error with what is wrong."""
    owner = owner_of(request)  # type: ignore[arg-type]
    try:
        wanted = how()
        sitting = await asyncio.to_thread(studio.begin, owner, begin)
        try:
            return await _grown(await asyncio.to_thread(studio.go_on, owner, sitting.name, wanted))
        finally:
            # Also where whoever asked has gone, and waits for nothing any more.
            await asyncio.shield(asyncio.to_thread(_forget, studio, owner, sitting.name))
    except MINE as error:
        raise gr.Error(told(error), print_exception=False) from None


def _forget(studio: Studio, owner: str, name: str) -> None:
    """Let go of a piece, which may still grow. Raises UserError, OSError."""
    with suppress(NoSessionError):
        studio.stop(owner, name)
        studio.store.forget(owner, name)


async def _grown(growth: Growth) -> str:
    """The tune when it has grown; whoever goes away stops it. Raises UserError."""
    growth.enter()
    try:
        while not growth.job.settled.is_set():
            await asyncio.sleep(PAUSE)
    finally:
        growth.leave()
    for event in growth.job.log:
        if event.kind == "error":
            raise UserError(event.text)
    return growth.takes[0].piece.work().abc
