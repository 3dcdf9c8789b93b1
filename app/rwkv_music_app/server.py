"""The studio as a web server: the page, the files it loads, notes to hear, and takes to download."""

import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from rwkv_music.errors import UserError
from rwkv_music.render.errors import RenderError
from rwkv_music_app.api.application import make_api
from rwkv_music_app.api.metrics import Metrics
from rwkv_music_app.api.refusals import LATER, add_refusals
from rwkv_music_app.assets import BASE, content
from rwkv_music_app.batcher import BusyError
from rwkv_music_app.gate import Asgi, Gate, owner_of
from rwkv_music_app.memory import give_back
from rwkv_music_app.sheets import add_sheets
from rwkv_music_app.sound import Notes
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import KINDS, SESSION_KIND, attached, hide, told
from rwkv_music_app.tuning import Tunings
from rwkv_music_tokenizers.errors import NotationError

FOREVER = "public, max-age=31536000, immutable"
# Seconds between two looks for sessions that are old, and after which memory goes back to the system.
CLEANING = 600.0
GIVING_BACK = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Openness:
    """To whom the server answers."""

    # User and password, or nobody is asked.
    auth: tuple[str, str] | None = None
    # Only from this machine, by its own names.
    local: bool = True
    # The name of a link through which others come too, over https.
    link: str = ""
    # Assistants may call tools over MCP.
    mcp: bool = False


ON_THIS_MACHINE = Openness()


def make_server(
    studio: Studio, notes: Notes | None, openness: Openness = ON_THIS_MACHINE, tunings: Tunings | None = None
) -> Asgi:
    """Everything behind its gate. notes: None where there is no soundfont; tunings: None where nobody may tune styles.

    Raises ImportError where what MCP needs is not installed.
    """
    app, metrics = _with_api(studio, tunings)
    add_files(app, notes)
    _add_downloads(app, studio)
    add_sheets(app, studio)
    # Only here: it takes seconds.
    from rwkv_music_app.page.page import mount

    page = mount(app, studio, tunings, openness.mcp)
    return metrics.counted(Gate(page, auth=openness.auth, local=openness.local, link=openness.link))


def make_service(studio: Studio, openness: Openness = ON_THIS_MACHINE) -> Asgi:
    """The API alone, behind the same gate."""
    app, metrics = _with_api(studio, None)
    return metrics.counted(Gate(app, auth=openness.auth, local=openness.local))


def _with_api(studio: Studio, tunings: Tunings | None) -> tuple[FastAPI, Metrics]:
    """What every server has, and its numbers."""
    hide(studio.store.folder)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=_cleaning(studio, tunings))
    add_refusals(app)
    metrics = Metrics(studio)
    app.mount("/api", make_api(studio, metrics))
    return app, metrics


def _cleaning(studio: Studio, tunings: Tunings | None):
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        over = threading.Event()

        def regularly(seconds: float, work: Callable[[], None]) -> None:
            while not over.wait(seconds):
                try:
                    work()
                except OSError as error:
                    # A disk that cannot be read now may be there the next time.
                    _log.error("what is old could not be let go of: %s", error)

        for seconds, work in ((CLEANING, studio.clean), (GIVING_BACK, give_back)):
            threading.Thread(target=regularly, args=(seconds, work), name="rwkv-music-cleaning", daemon=True).start()
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
        except BusyError as error:
            return PlainTextResponse(told(error), 503, LATER)
        except (RenderError, OSError) as error:
            return PlainTextResponse(told(error), 500)
        except ValueError as error:
            return PlainTextResponse(told(error), 404)
        return Response(found, media_type="audio/wav", headers={"cache-control": "public, max-age=86400"})


def _add_downloads(app: FastAPI, studio: Studio) -> None:
    @app.get(f"/{BASE}/take/{{session}}/{{take}}.{{form}}")
    def download(session: str, take: int, form: str, request: Request) -> Response:
        return _file(lambda: studio.export(owner_of(request), session, take, form), form, f"take-{take}.{form}")

    @app.get(f"/{BASE}/shared/{{token}}.{{form}}")
    def shared(token: str, form: str) -> Response:
        return _file(lambda: studio.shared(token, form), form, f"take.{form}")

    @app.get(f"/{BASE}/session/{{session}}.rwkvsession")
    def session_file(session: str, request: Request) -> Response:
        owner = owner_of(request)
        return _file(lambda: studio.session_file(owner, session).read_bytes(), "", "piece.rwkvsession")


def _file(content: Callable[[], bytes], form: str, name: str) -> Response:
    try:
        return attached(content(), KINDS.get(form, SESSION_KIND), name)
    except NoSessionError as error:
        return PlainTextResponse(told(error), 404)
    except BusyError as error:
        return PlainTextResponse(told(error), 503, LATER)
    except (UserError, NotationError, OSError) as error:
        return PlainTextResponse(told(error), 422)
