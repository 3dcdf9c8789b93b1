"""The page where a style is made of somebody's own music."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, PlainTextResponse

from rwkv_music.errors import UserError
from rwkv_music.library import embedded_models, user_models
from rwkv_music_app.assets import BASE, script_tags
from rwkv_music_app.gate import owner_in
from rwkv_music_app.page import brand
from rwkv_music_app.server import told
from rwkv_music_app.tuning import Tunings
from rwkv_music_app.tuning_wishes import KINDS, MOST_MINUTES, MOST_STEPS, Wish, plain_name, style_file

MINE = (UserError, OSError)
BY_ITSELF = "The one for this music"
# Seconds between two looks at a tuning.
PAUSE = 0.5


class Report(gr.HTML):
    """What is known of a tuning, drawn by `static/tune.js`."""

    def __init__(self) -> None:
        super().__init__(
            None,
            html_template='<div class="rm-tuning" aria-live="polite"></div>',
            js_on_load="window.rwkvMusic.tuning(element.querySelector('.rm-tuning'), {watch, props});",
            head=script_tags("piece.js", "tune.js"),
            apply_default_css=False,
            elem_id="rm-tuning",
        )

    def postprocess(self, value: Any) -> Any:
        """What `Tunings.view` tells, as it is."""
        return value

    def api_info(self) -> dict[str, Any]:
        """Any JSON."""
        return {"type": "object"}


def add_route(app: FastAPI, tunings: Tunings | None) -> None:
    """Where a style is downloaded; where nobody may tune any, what to say of the page."""
    if tunings is None:

        @app.get("/tune")
        def nothing() -> Response:
            return PlainTextResponse("styles are tuned on the studio's own machine only", 404)

        return

    @app.get(f"/{BASE}/style/{{name}}.safetensors")
    def style(name: str) -> Response:
        path = style_file(name)
        if path is None:
            return PlainTextResponse("there is no such style", 404)
        return FileResponse(path, media_type="application/octet-stream", filename=f"{name}.safetensors")


def add_page(blocks: gr.Blocks, tunings: Tunings) -> None:
    """The page at /tune."""
    with blocks.route("Tune it", "/tune"):
        gr.Navbar(visible=False)
        brand.lay_out("Tune it", True)
        with gr.Row(elem_id="rm-room", equal_height=False):
            with gr.Column(scale=0, min_width=340, elem_id="rm-left"):
                wish = _wish()
                look = gr.Button("Look at my music", size="lg", elem_id="rm-look")
                start = gr.Button("Tune it", variant="primary", size="lg", interactive=False, elem_id="rm-start-tuning")
                stop = gr.Button(
                    "Stop, and keep what was learnt", size="lg", interactive=False, elem_id="rm-stop-tuning"
                )
            with gr.Column(scale=1, min_width=320, elem_id="rm-right"):
                report = Report()
        _wire(blocks, tunings, wish, (look, start, stop), report)


def _wish() -> list[Any]:
    """Files, name, replace, minutes, model and steps, as `_wish_of` takes their values."""
    with gr.Group(elem_classes="rm-group"):
        files = gr.File(
            label="Your music: ABC, MIDI or MusicXML",
            file_count="multiple",
            file_types=list(KINDS),
            type="filepath",
            height=200,
            elem_id="rm-tune-files",
        )
        name = gr.Textbox(
            label="What the style is called",
            placeholder="my-waltzes",
            max_lines=1,
            max_length=80,
            elem_id="rm-tune-name",
        )
        minutes = gr.Slider(1, MOST_MINUTES, value=10, step=1, label="Minutes at the most", elem_id="rm-tune-minutes")
    with gr.Accordion("Settings", open=False, elem_id="rm-settings"):
        model = gr.Dropdown([BY_ITSELF, *embedded_models(), *user_models()], value=BY_ITSELF, label="Model")
        steps = gr.Number(
            0, label="Steps at the most", info="0: as many as are usual", precision=0, minimum=0, maximum=MOST_STEPS,
            elem_id="rm-tune-steps",
        )  # fmt: skip
        replace = gr.Checkbox(value=False, label="Replace my style of this name", elem_id="rm-tune-replace")
    return [files, name, replace, minutes, model, steps]


def _wish_of(values: tuple[Any, ...]) -> tuple[list[Path], Wish]:
    """Raises UserError."""
    files, name, replace, minutes, model, steps = values
    model = "" if model == BY_ITSELF else str(model)
    wish = Wish(plain_name(str(name or "")), float(minutes or 0), model, bool(replace), int(steps or 0))
    return [Path(file) for file in files or ()], wish


def _wire(
    blocks: gr.Blocks,
    tunings: Tunings,
    wish: list[Any],
    buttons: tuple[gr.Button, gr.Button, gr.Button],
    report: Report,
) -> None:
    numbers = itertools.count(1)

    def seen(owner: str, wrong: str = "") -> list[Any]:
        """What is to be shown, and which buttons can be pressed. Gradio leaves out what repeats itself, hence a number."""
        view = tunings.view(owner)
        view["error"] = told(UserError(view.get("error", "")))
        busy, phase = tunings.is_busy(owner), view["phase"]
        stoppable = busy and phase in ("looking", "learning") and not view["stopped"]
        pressable = (not busy, phase == "ready", stoppable)
        return [{**view, "wrong": wrong, "number": next(numbers)}, *(gr.Button(interactive=may) for may in pressable)]

    async def follow(owner: str, wrong: str = "") -> AsyncGenerator[list[Any], None]:
        """Until there is nothing more to see; whoever goes away stops nothing."""
        yield await asyncio.to_thread(seen, owner, wrong)
        while await asyncio.to_thread(tunings.is_busy, owner):
            await asyncio.sleep(PAUSE)
            yield await asyncio.to_thread(seen, owner, wrong)

    async def after(owner: str, begin: Callable[[], None]) -> AsyncGenerator[list[Any], None]:
        wrong = ""
        try:
            await asyncio.to_thread(begin)
        except MINE as error:
            wrong = told(error)
        async for update in follow(owner, wrong):
            yield update

    async def look(request: gr.Request, *values: Any) -> AsyncGenerator[list[Any], None]:
        owner = _owner(request)
        async for update in after(owner, lambda: tunings.look(owner, *_wish_of(values))):
            yield update

    async def start(request: gr.Request) -> AsyncGenerator[list[Any], None]:
        owner = _owner(request)
        async for update in after(owner, lambda: tunings.start(owner)):
            yield update

    async def again(request: gr.Request) -> AsyncGenerator[list[Any], None]:
        async for update in follow(_owner(request)):
            yield update

    def stop(request: gr.Request) -> list[Any]:
        owner = _owner(request)
        tunings.stop(owner)
        return seen(owner)

    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "concurrency_limit": None,
        "trigger_mode": "multiple",
    }
    outputs = [report, *buttons]
    buttons[0].click(look, wish, outputs, **quiet)
    buttons[1].click(start, None, outputs, **quiet)
    buttons[2].click(stop, None, outputs, **quiet)
    blocks.load(again, None, outputs, show_progress="hidden", api_visibility="private", concurrency_limit=None)


def _owner(request: gr.Request) -> str:
    return owner_in(request.headers.get("cookie", ""))
