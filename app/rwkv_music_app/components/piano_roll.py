"""The piano roll as a Gradio component."""

from typing import Any

import gradio as gr

from rwkv_music_app.assets import script_tags
from rwkv_music_app.components.music_value import Music, update_of


class PianoRoll(gr.HTML):
    """Notes on a canvas: time from left to right, pitch from the bottom up, a colour for each instrument.

    Components whose `piece` is the same show the same music: it is enough to give it to one of them.
    """

    def __init__(self, value: Music = None, *, piece: str = "music", height: int = 300, **settings: Any):
        """height: in CSS pixels. settings: those of `gr.HTML`, except its templates."""
        super().__init__(
            value,
            html_template='<canvas class="rm-roll" role="img" tabindex="0"></canvas>',
            css_template=f".rm-roll {{ display: block; width: 100%; height: {int(height)}px; }}",
            js_on_load=(
                "const piece = window.rwkvMusic.piece(props.piece);"
                "window.rwkvMusic.roll(element.querySelector('canvas'), piece);"
                "watch('value', () => piece.apply(props.value));"
                "piece.apply(props.value);"
            ),
            head=script_tags("piece.js", "pianoroll.js"),
            apply_default_css=False,
            piece=piece,
            **settings,
        )

    def postprocess(self, value: Music) -> Any:
        """The music as the browser takes it. Raises NotationError."""
        return update_of(value)

    def api_info(self) -> dict[str, Any]:
        """Any JSON."""
        return {"type": "object"}
