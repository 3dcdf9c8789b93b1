"""The player as a Gradio component."""

from typing import Any

import gradio as gr

from rwkv_music_app.assets import BASE, script_tags
from rwkv_music_app.components.music_value import Music, update_of
from rwkv_music_app.sound import instrument_names


class MidiPlayer(gr.HTML):
    """Buttons that play: from the server's own soundfont, with nothing else asked of any network.

    Components whose `piece` is the same show the same music, and follow the player.
    """

    def __init__(self, value: Music = None, *, piece: str = "music", **settings: Any):
        """settings: those of `gr.HTML`, except its templates."""
        super().__init__(
            value,
            html_template='<div class="rm-player" role="group" aria-label="Player"></div>',
            css_template=(
                ".rm-player { display: flex; flex-wrap: wrap; align-items: center; gap: 12px; }"
                ".rm-player .rm-seek { flex: 1 1 160px; }"
            ),
            js_on_load=(
                "const piece = window.rwkvMusic.piece(props.piece);"
                "window.rwkvMusic.player(element.querySelector('.rm-player'), piece, props);"
                "watch('value', () => piece.apply(props.value));"
                "piece.apply(props.value);"
            ),
            head=script_tags("piece.js", "player.js"),
            apply_default_css=False,
            piece=piece,
            base=f"{BASE}/sf",
            instruments=list(instrument_names()),
            **settings,
        )

    def postprocess(self, value: Music) -> Any:
        """The music as the browser takes it. Raises NotationError."""
        return update_of(value)

    def api_info(self) -> dict[str, Any]:
        """Any JSON."""
        return {"type": "object"}
