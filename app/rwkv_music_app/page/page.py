"""The page of the studio, laid out and wired."""

import asyncio
import itertools
import os
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import gradio as gr
from fastapi import FastAPI

from rwkv_music_app.assets import FOLDER
from rwkv_music_app.components.midi_player import MidiPlayer
from rwkv_music_app.components.piano_roll import PianoRoll
from rwkv_music_app.components.sheet_music import SheetMusic
from rwkv_music_app.gate import MOST_BYTES, owner_in
from rwkv_music_app.growth import Growth
from rwkv_music_app.page import brand, tune
from rwkv_music_app.page.desk import Desk, Takes
from rwkv_music_app.page.form import Form, lay_out, styles_on_offer
from rwkv_music_app.page.look import theme
from rwkv_music_app.page.tools import add_tools
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import MINE, told
from rwkv_music_app.tuning import Tunings
from rwkv_music_app.wants import GoOn

PIECE = "studio"
# Seconds between two looks for uploads that nobody needs any more, and after which they are such.
UPLOADS = (600, 3600)
HEAD = '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
STYLE_SHEETS = ("studio.css", "tune.css")
Updates: TypeAlias = AsyncGenerator[dict[str, Any], None]


def mount(app: FastAPI, studio: Studio, tunings: Tunings | None = None, mcp: bool = False) -> FastAPI:
    """The page at / of a server, and the one at /tune where styles may be tuned; mcp: its tools at /gradio_api/mcp too.

    Raises ImportError where what MCP needs is not installed.
    """
    tune.add_route(app, tunings)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with warnings.catch_warnings():
        # Of several pages Gradio says that it leaves out what it is told to leave out.
        warnings.filterwarnings("ignore", "SSR mode")
        return gr.mount_gradio_app(
            app,
            page(studio, tunings),
            "",
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            show_error=False,
            pwa=False,
            mcp_server=mcp,
            max_file_size=MOST_BYTES,
            theme=theme(),
            css="".join((FOLDER / name).read_text(encoding="utf-8") for name in STYLE_SHEETS),
            head=HEAD,
        )


def page(studio: Studio, tunings: Tunings | None = None) -> gr.Blocks:
    """Everything on it. Pages are loaded one by one: on one page's tabs, roll and score would miss what they do not show."""
    with gr.Blocks(title="RWKV Music Studio", analytics_enabled=False, delete_cache=UPLOADS, fill_width=True) as blocks:
        brand.lay_out("Compose", tunings is not None)
        with gr.Row(elem_id="rm-room", equal_height=False):
            with gr.Column(scale=0, min_width=340, elem_id="rm-left"):
                form = lay_out(studio.models.names, studio.models.styles())
            with gr.Column(scale=1, min_width=320, elem_id="rm-right"):
                desk = Desk(studio)
                MidiPlayer(piece=PIECE, elem_id="rm-player")
                PianoRoll(piece=PIECE, elem_id="rm-roll", height=270)
                SheetMusic(piece=PIECE, elem_id="rm-sheet", height=400)
                Takes()
        # Before the page's own events, so that the names are theirs.
        add_tools(studio)
        _wire(blocks, form, desk, studio)
    if tunings is not None:
        tune.add_page(blocks, tunings)
    return blocks


def _wire(blocks: gr.Blocks, form: Form, desk: Desk, studio: Studio) -> None:
    numbers = itertools.count(1)

    async def told_of(begin: Callable[[], Awaitable[Growth]]) -> Updates:
        """Updates, each another one than the one before, as Gradio leaves out what repeats itself."""
        try:
            async with aclosing(studio.follow(await begin())) as updates:
                async for update in updates:
                    yield {**update, "number": next(numbers)}
        except MINE as error:
            yield {"error": told(error), "number": next(numbers)}

    async def compose(request: gr.Request, *values: Any) -> Updates:
        owner = _owner(request)

        async def begin() -> Growth:
            how = form.go_on_of(values[len(form.begin) :])
            sitting = await asyncio.to_thread(lambda: studio.begin(owner, form.begin_of(values)))
            return await asyncio.to_thread(studio.go_on, owner, sitting.name, how)

        async with aclosing(told_of(begin)) as updates:
            async for update in updates:
                yield update

    async def grow(asked: gr.EventData, request: gr.Request, *values: Any) -> Updates:
        owner, wish = _owner(request), dict(asked._data or {})

        async def begin() -> Growth:
            return await asyncio.to_thread(_grown, studio, owner, wish, form.go_on_of(values))

        async with aclosing(told_of(begin)) as updates:
            async for update in updates:
                yield update

    def restore(request: gr.Request) -> tuple[dict[str, Any], gr.Dropdown]:
        """The piece that was made last, and the styles that there are by now, of which the address may choose one."""
        owner, update = _owner(request), {"number": next(numbers)}
        styles = gr.Dropdown()
        try:
            last = next(iter(studio.store.told(owner)), None)
            if last is not None:
                update |= {"session": last.name, "tree": studio.picture(owner, last.name)}
            styles = styles_on_offer(studio.models.styles(), request.query_params.get("style", ""))
        except MINE as error:
            update |= {"error": told(error)}
        return update, styles

    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
        "trigger_mode": "multiple",
    }
    form.compose.click(compose, form.all, desk, **quiet)
    desk.grow(grow, list(form.go_on.values()), desk, **quiet)
    blocks.load(restore, None, [desk, form.begin["style"]], show_progress="hidden", api_visibility="private")


def _grown(studio: Studio, owner: str, wish: dict[str, Any], how: GoOn) -> Growth:
    """What a wish to go on, or to go another way, makes grow. Raises UserError, OSError."""
    name, take, bar = str(wish.get("session")), _number(wish.get("take")), _number(wish.get("bar"))
    if wish.get("what") == "branch" and take is not None:
        return studio.branch(owner, name, how, take)
    return studio.go_on(owner, name, how, take, bar)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _owner(request: gr.Request) -> str:
    return owner_in(request.headers.get("cookie", ""))
