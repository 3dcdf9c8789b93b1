"""The page where a style is made of somebody's own music."""

import itertools
from collections.abc import Callable
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
from rwkv_music_app.telling import told
from rwkv_music_app.tuning import Tunings
from rwkv_music_app.tuning_wishes import KINDS, MOST_MINUTES, MOST_STEPS, Wish, style_file, typed_name

MINE = (UserError, OSError)
BY_ITSELF = "The one for this music"


class Report(gr.HTML):
    """What is known of a tuning, drawn by `static/tune.js`, which asks for more and says when the phase is another one."""

    def __init__(self, tunings: Tunings):
        def view(_: dict[str, Any], request: gr.Request) -> dict[str, Any]:
            """What there is to see by now."""
            return seen(tunings, owner_in(request.headers.get("cookie", "")))

        super().__init__(
            None,
            html_template='<div class="rm-tuning" aria-live="polite"></div>',
            js_on_load=(
                "window.rwkvMusic.tuning(element.querySelector('.rm-tuning'),"
                "{server, watch, props, turned: (phase) => trigger('phase', {phase})});"
            ),
            server_functions=[view],
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
        brand.lay_out("Tune it", True)
        with gr.Row(elem_id="rm-room", equal_height=False):
            with gr.Column(scale=0, min_width=340, elem_id="rm-left"):
                wish = _wish()
                look = gr.Button("Look at my music", size="lg", elem_id="rm-look")
                start = gr.Button("Tune it", variant="primary", size="lg", interactive=False, elem_id="rm-start-tuning")
                stop = gr.Button("Stop, and keep what was learnt", size="lg", visible=False, elem_id="rm-stop-tuning")
            with gr.Column(scale=1, min_width=320, elem_id="rm-right"):
                report = Report(tunings)
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
    wish = Wish(typed_name(str(name or "")), float(minutes or 0), model, bool(replace), int(steps or 0))
    return [Path(file) for file in files or ()], wish


def _wire(
    blocks: gr.Blocks,
    tunings: Tunings,
    wish: list[Any],
    buttons: tuple[gr.Button, gr.Button, gr.Button],
    report: Report,
) -> None:
    numbers = itertools.count(1)

    def pressable(view: dict[str, Any]) -> list[gr.Button]:
        """Which buttons can be pressed; Stop stands where the other one stood."""
        stoppable = view["busy"] and view["phase"] in ("looking", "learning") and not view["stopped"]
        return [
            gr.Button(interactive=not view["busy"]),
            gr.Button(interactive=view["phase"] == "ready", visible=not stoppable),
            gr.Button(visible=stoppable),
        ]

    def done(request: gr.Request, act: Callable[[str], None] | None = None) -> list[Any]:
        """What is to be seen when something was done. Gradio leaves out what repeats itself, hence a number."""
        owner, wrong = owner_in(request.headers.get("cookie", "")), ""
        try:
            if act is not None:
                act(owner)
        except MINE as error:
            wrong = told(error)
        view = seen(tunings, owner)
        return [{**view, "wrong": wrong, "number": next(numbers)}, *pressable(view)]

    def look(request: gr.Request, *values: Any) -> list[Any]:
        return done(request, lambda owner: tunings.look(owner, *_wish_of(values)))

    def start(request: gr.Request) -> list[Any]:
        return done(request, tunings.start)

    def stop(request: gr.Request) -> list[Any]:
        return done(request, tunings.stop)

    def come(request: gr.Request) -> list[Any]:
        return done(request)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    outputs = [report, *buttons]
    buttons[0].click(look, wish, outputs, **quiet)
    buttons[1].click(start, None, outputs, **quiet)
    buttons[2].click(stop, None, outputs, **quiet)
    report.phase(come, None, outputs, **quiet)
    blocks.load(come, None, outputs, **quiet)


def seen(tunings: Tunings, owner: str) -> dict[str, Any]:
    """What somebody sees of their tuning."""
    view = tunings.view(owner)
    return {**view, "error": told(UserError(view["error"]))}
