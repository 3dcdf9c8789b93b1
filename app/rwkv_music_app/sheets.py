"""Performances as engraved sheets: each window is drawn when a page first looks at it, and kept while there is room."""

import re
import threading
from collections import OrderedDict
from typing import TypeAlias

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from rwkv_music.errors import UserError
from rwkv_music.render.sheet import engraved, musicxml
from rwkv_music.works import Tune
from rwkv_music_app.assets import BASE
from rwkv_music_app.gate import owner_of
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import told
from rwkv_music_app.turns import Turns
from rwkv_music_app.windows import bars_before, window_of, windows
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.score import Meter, Score

# CSS pixels that a window may be wide; in between, in steps, so that few drawings serve many pages.
NARROWEST, WIDEST, STEP = 320, 1040, 80
# Percent of the engraver's own size.
SCALE = 40
# Windows that are engraved at the same time, those that wait for it, and seconds that one may take.
AT_ONCE, WAITING, TIME_LIMIT = 2, 8, 20.0
# Bytes of drawings, and scores, that are kept.
MOST_BYTES = 64 << 20
MOST_SCORES = 8
# The meter in the first bar of each part.
_METER = re.compile(r"(<part id=(?:(?!</measure>).)*?)<time\b.*?</time>\s*", re.DOTALL)

# Session, take, number and name of a window, and CSS pixels.
Key: TypeAlias = tuple[str, int, int, str, int]


class Sheets:
    """What is engraved of a studio's takes. Any thread may call."""

    def __init__(self, studio: Studio):
        self._studio = studio
        self._lock = threading.Lock()
        self._turns = Turns(AT_ONCE, WAITING)
        # Names of windows and scores of takes at some length; those used last stand last.
        self._scores: OrderedDict[tuple[str, int, int], tuple[tuple[str, ...], Score]] = OrderedDict()
        self._drawings: OrderedDict[Key, str] = OrderedDict()
        self._size = 0

    def drawing(self, owner: str, session: str, take: int, number: int, width: int) -> str:
        """A window of a performance by its number, as an SVG about so many CSS pixels wide.

        Raises NoSessionError, BusyError, and UserError or NotationError where there is nothing to draw.
        """
        names, score = self._score(owner, session, take)
        if not 0 <= number < len(names):
            raise UserError("there is no such part of the sheet")
        width = min(WIDEST, max(NARROWEST, width)) // STEP * STEP
        key = (session, take, number, names[number], width)
        if (found := self._known(key)) is not None:
            return found
        with self._turns:
            # Whoever was before may have drawn the same.
            found = self._known(key)
            if found is None:
                found = _drawn(score, number, width)
                self._keep(key, found)
        return found

    def _score(self, owner: str, session: str, take: int) -> tuple[tuple[str, ...], Score]:
        takes = self._studio.store.get(owner, session).session.takes
        if not 0 <= take < len(takes):
            raise UserError(f"there are takes 0 to {len(takes) - 1}, not {take}")
        piece = takes[take].piece
        key = (session, take, piece.length)
        with self._lock:
            if key in self._scores:
                self._scores.move_to_end(key)
                return self._scores[key]
        work = piece.work()
        if isinstance(work, Tune):
            raise UserError("this take is a tune: its ABC is its sheet")
        found = tuple(window.name for window in windows(work)), work.score
        with self._lock:
            self._scores[key] = found
            while len(self._scores) > MOST_SCORES:
                self._scores.popitem(last=False)
        return found

    def _known(self, key: Key) -> str | None:
        with self._lock:
            if key in self._drawings:
                self._drawings.move_to_end(key)
            return self._drawings.get(key)

    def _keep(self, key: Key, drawing: str) -> None:
        with self._lock:
            self._size += len(drawing) - len(self._drawings.pop(key, ""))
            self._drawings[key] = drawing
            while self._size > MOST_BYTES:
                _, gone = self._drawings.popitem(last=False)
                self._size -= len(gone)


def _drawn(score: Score, number: int, width: int) -> str:
    window = window_of(score, number)
    xml = musicxml(window, before=bars_before(score, number))
    options: dict[str, object] = {"pageWidth": 100 * width // SCALE, "scale": SCALE}
    if number:
        # What goes on in the middle of a piece: no title, no edge above, no meter but where it changes.
        options |= {"header": "none", "pageMarginTop": 0}
        if not any(isinstance(item, Meter) for item in window.parts[0].bars[0].items):
            xml = _METER.sub(r"\1", xml)
    return engraved(xml, TIME_LIMIT, options)


def add_sheets(app: FastAPI, studio: Studio) -> None:
    """The route by which the page asks for windows. What comes is JSON: nothing in it runs, whoever opens it."""
    sheets = Sheets(studio)

    @app.get(f"/{BASE}/take/{{session}}/{{take}}/sheet/{{number}}")
    def window(session: str, take: int, number: int, request: Request, width: int = 840) -> Response:
        try:
            svg = sheets.drawing(owner_of(request), session, take, number, width)
        except NoSessionError as error:
            return PlainTextResponse(told(error), 404)
        except (UserError, NotationError) as error:
            return JSONResponse({"error": told(error)})
        return JSONResponse({"svg": svg}, headers={"cache-control": "no-store"})
