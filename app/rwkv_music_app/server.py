"""The studio as a web server: the page, the files it loads, notes to hear, and takes to download."""

import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from rwkv_music.errors import UserError
from rwkv_music.render.errors import RenderError
from rwkv_music_app.assets import BASE, content
from rwkv_music_app.gate import Asgi, Gate, owner_in
from rwkv_music_app.sheets import add_sheets
from rwkv_music_app.sound import Notes
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.tuning import Tunings
from rwkv_music_tokenizers.errors import NotationError

KINDS = {
    "abc": "text/vnd.abc; charset=utf-8",
    "mid": "audio/midi",
    "musicxml": "application/vnd.recordare.musicxml+xml",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "wav": "audio/wav",
}
FOREVER = "public, max-age=31536000, immutable"
# Seconds between two looks for sessions that are old.
CLEANING = 600.0
# An absolute path, up to its last name.
PATH = re.compile(r"(?:[A-Za-z]:)?(?:[/\\][^\s/\\:'\"]+)+[/\\](?=[^\s/\\:'\"]+)")


@dataclass(frozen=True)
class Openness:
    """To whom the server answers."""

    # User and password, or nobody is asked.
    auth: tuple[str, str] | None = None
    # Only from this machine, by its own names.
    local: bool = True


ON_THIS_MACHINE = Openness()


def told(error: Exception) -> str:
    """An error as it is told over the network: no path of this machine in it."""
    if isinstance(error, OSError):
        return "the studio's disk cannot be used at this moment"
    return PATH.sub("", str(error))[:400]


def make_server(
    studio: Studio, notes: Notes | None, openness: Openness = ON_THIS_MACHINE, tunings: Tunings | None = None
) -> Asgi:
    """Everything behind its gate. notes: None where there is no soundfont; tunings: None where nobody may tune styles."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=_cleaning(studio, tunings))
    add_files(app, notes)
    _add_downloads(app, studio)
    add_sheets(app, studio)
    # Only here: it takes seconds.
    from rwkv_music_app.page.page import mount

    return Gate(mount(app, studio, tunings), auth=openness.auth, local=openness.local)


def _cleaning(studio: Studio, tunings: Tunings | None):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        over = threading.Event()

        def clean() -> None:
            while not over.wait(CLEANING):
                studio.store.clean()

        thread = threading.Thread(target=clean, name="rwkv-music-cleaning", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            if tunings is not None:
                tunings.close()
            studio.close()

    return lifespan


def add_files(app: FastAPI, notes: Notes | None) -> None:
    """What the components load: scripts, and single notes as sound."""

    @app.get(f"/{BASE}/static/{{name}}")
    def static(name: str) -> Response:
        try:
            found, kind = content(name)
        except KeyError:
            return PlainTextResponse("no such file", 404)
        return Response(found, media_type=kind, headers={"cache-control": FOREVER})

    # As abcjs and MIDI.js ask for a note; what comes is a WAV, which browsers know by what it begins with.
    @app.get(f"/{BASE}/sf/{{instrument}}-mp3/{{note}}.mp3")
    def sound(instrument: str, note: str) -> Response:
        if notes is None:
            return PlainTextResponse("there is no soundfont: rwkv-music doctor tells more", 404)
        try:
            found = notes.wav(instrument, note)
        except ValueError as error:
            return PlainTextResponse(told(error), 404)
        except (RenderError, OSError) as error:
            return PlainTextResponse(told(error), 500)
        return Response(found, media_type="audio/wav", headers={"cache-control": "public, max-age=86400"})


def _add_downloads(app: FastAPI, studio: Studio) -> None:
    @app.get(f"/{BASE}/take/{{session}}/{{take}}.{{form}}")
    def download(session: str, take: int, form: str, request: Request) -> Response:
        try:
            body = studio.export(owner_of(request), session, take, form)
        except NoSessionError as error:
            return PlainTextResponse(told(error), 404)
        except (UserError, NotationError, OSError) as error:
            return PlainTextResponse(told(error), 422)
        return _attached(body, KINDS[form], f"take-{take}.{form}")

    @app.get(f"/{BASE}/session/{{session}}.rwkvsession")
    def session_file(session: str, request: Request) -> Response:
        try:
            path = studio.session_file(owner_of(request), session)
            return _attached(path.read_bytes(), "application/octet-stream", "piece.rwkvsession")
        except NoSessionError as error:
            return PlainTextResponse(told(error), 404)
        except (UserError, OSError) as error:
            return PlainTextResponse(told(error), 422)


def _attached(body: bytes, kind: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(body, media_type=kind, headers=headers)


def owner_of(request: Request) -> str:
    """Whose a request is; the gate has seen to it that everybody is somebody."""
    return owner_in(request.headers.get("cookie", ""))
