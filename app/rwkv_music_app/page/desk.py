"""What stands above and below the music: one component hears all that the studio tells, and says all that is wanted."""

from typing import Any

import gradio as gr

from rwkv_music.errors import UserError
from rwkv_music_app.assets import script_tags
from rwkv_music_app.components.sheet_music import SHEET
from rwkv_music_app.gate import owner_in
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import MINE, told

# What reading a wish raises where it is none.
NO_WISH = (KeyError, TypeError, ValueError, AttributeError)


class Desk(gr.HTML):
    """Title, Stop and the list of pieces. Its value is the last update; it asks for takes that the page lacks."""

    def __init__(self, studio: Studio):
        functions = questions(studio)
        super().__init__(
            None,
            html_template='<div class="rm-desk"></div>',
            js_on_load=(
                "window.rwkvMusic.desk(element.querySelector('.rm-desk'),"
                "{server, watch, props, trigger: (what, data) => trigger('grow', data)});"
            ),
            head=script_tags(*SHEET, "pianoroll.js", "player.js", "studio.js"),
            apply_default_css=False,
            server_functions=functions,
            elem_id="rm-desk",
        )

    def postprocess(self, value: Any) -> Any:
        """An update, as it is."""
        return value

    def api_info(self) -> dict[str, Any]:
        """Any JSON."""
        return {"type": "object"}


class Takes(gr.HTML):
    """The tree of takes, those side by side, and ways out; it shows what the desk hears."""

    def __init__(self) -> None:
        super().__init__(
            None,
            html_template='<div class="rm-takes"></div>',
            js_on_load="window.rwkvMusic.takes(element.querySelector('.rm-takes'));",
            head=script_tags("piece.js", "pianoroll.js", "studio.js"),
            apply_default_css=False,
            elem_id="rm-takes-panel",
        )


def questions(studio: Studio) -> list[Any]:
    """What a browser may ask at once, outside any queue."""

    def since(asked: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        """What changed in a take after a version."""
        try:
            name, take = str(asked["session"]), int(asked["take"])
            changed = studio.since(
                owner_in(request.headers.get("cookie", "")), name, take, int(asked.get("version", 0))
            )
            return {"session": name, "takes": {str(take): changed}}
        except MINE as error:
            return {"error": told(error)}
        except NO_WISH:
            return {"error": "there is no such wish"}

    def tell(asked: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        """Whatever takes no time: undo, redo, go to a take, keep or share it, stop, list, open, forget."""
        try:
            return answer(studio, owner_in(request.headers.get("cookie", "")), asked)
        except MINE as error:
            return {"error": told(error)}
        except NO_WISH:
            return {"error": "there is no such wish"}

    return [since, tell]


def answer(studio: Studio, owner: str, asked: dict[str, Any]) -> dict[str, Any]:
    """The update for one wish. Raises UserError, OSError, and KeyError, TypeError or ValueError for what is no wish."""
    what, name = asked["what"], str(asked["session"])
    match what:
        case "list":
            return {"pieces": pieces(studio, owner)}
        case "forget":
            studio.store.forget(owner, name)
            return {"closed": name, "pieces": pieces(studio, owner)}
        case "undo":
            studio.undo(owner, name)
        case "redo":
            studio.redo(owner, name)
        case "go_to":
            studio.go_to(owner, name, int(asked["take"]))
        case "keep":
            studio.keep(owner, name, int(asked["take"]), bool(asked["kept"]))
        case "share":
            studio.share(owner, name, int(asked["take"]))
        case "unshare":
            studio.unshare(owner, name, int(asked["take"]))
        case "stop":
            studio.stop(owner, name)
        case "open":
            pass
        case _:
            raise UserError("there is no such wish")
    return {"session": name, "tree": studio.picture(owner, name)}


def pieces(studio: Studio, owner: str) -> list[dict[str, Any]]:
    """A person's pieces, as they are listed."""
    return [vars(known) for known in studio.store.told(owner)]
