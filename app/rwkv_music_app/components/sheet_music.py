"""Sheet music as a Gradio component."""

from typing import Any

import gradio as gr

from rwkv_music_app.assets import script_tags
from rwkv_music_app.components.music_value import Music, update_of

SHEET = ("piece.js", "abcjs-basic-min.js", "abc.js", "engraved.js", "sheet.js")


class SheetMusic(gr.HTML):
    """A tune as abcjs draws it; of a performance, what a reader would write down, marked approximate.

    Components whose `piece` is the same show the same music.
    """

    def __init__(self, value: Music = None, *, piece: str = "music", height: int = 420, **settings: Any):
        """height: the most CSS pixels before it scrolls. settings: those of `gr.HTML`, except its templates."""
        super().__init__(
            value,
            html_template='<div class="rm-sheet" role="img" tabindex="0"></div>',
            css_template=(
                f".rm-sheet {{ max-height: {int(height)}px; overflow-y: auto; }}"
                ".rm-sheet-note:empty { display: none; } .rm-sheet-note { font-size: 12px; opacity: .7; margin: 0 0 6px; }"
                ".rm-leaf svg { display: block; width: 100%; height: auto; fill: currentColor; }"
                ".rm-engraved :is(ellipse, path, polygon, polyline, rect) { stroke: currentColor; }"
                ".rm-engraved :is(.ending, .fing, .reh, .tempo) { font-weight: bold; }"
                ".rm-engraved :is(.dir, .dynam, .mNum) { font-style: italic; }"
                ".rm-sounding, .rm-picked { fill: #b4552d; color: #b4552d; }"
            ),
            js_on_load=(
                "const piece = window.rwkvMusic.piece(props.piece);"
                "window.rwkvMusic.sheet(element.querySelector('.rm-sheet'), piece);"
                "watch('value', () => piece.apply(props.value));"
                "piece.apply(props.value);"
            ),
            head=script_tags(*SHEET),
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
