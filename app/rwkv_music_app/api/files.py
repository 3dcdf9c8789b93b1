"""What is taken home and brought back: takes as files, links to them, and states as session files."""

import asyncio
import tempfile
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from rwkv_music_app.api.pieces import PieceTold, tree
from rwkv_music_app.api.refusals import SENT, refused
from rwkv_music_app.api.routes import VERSION, PieceName, TakeNumber
from rwkv_music_app.assets import BASE
from rwkv_music_app.batcher import BusyError
from rwkv_music_app.gate import owner_of
from rwkv_music_app.studio import Studio
from rwkv_music_app.telling import KINDS, SESSION_KIND, attached

Form = Literal["abc", "mid", "musicxml", "svg", "pdf", "wav"]
# Session files that arrive at the same time: they lie on disk until they are whole.
AT_ONCE = 4
BINARY = {"schema": {"type": "string", "format": "binary"}}


class Shared(BaseModel):
    """A link to a take."""

    token: str
    address: str


def files(studio: Studio) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=VERSION, tags=["files"])
    room = asyncio.Semaphore(AT_ONCE)

    @router.get(
        "/pieces/{piece}/takes/{take}.{form}",
        response_class=Response,
        responses={200: {"content": {kind.split(";")[0]: BINARY for kind in KINDS.values()}}, **refused(404)},
    )
    def download(piece: PieceName, take: TakeNumber, form: Form, request: Request) -> Response:
        """A take as a file."""
        return attached(studio.export(owner_of(request), piece, take, form), KINDS[form], f"take-{take}.{form}")

    @router.post("/pieces/{piece}/takes/{take}/share", responses=refused(404, 409))
    def share(piece: PieceName, take: TakeNumber, request: Request) -> Shared:
        """A link to a take that works for whoever has it, until it is taken back; the same one every time."""
        token = studio.share(owner_of(request), piece, take)
        return Shared(token=token, address=f"/{BASE}/shared/{token}.abc")

    @router.delete("/pieces/{piece}/takes/{take}/share", status_code=204, responses=refused(404))
    def unshare(piece: PieceName, take: TakeNumber, request: Request) -> Response:
        """Take the link to a take back."""
        studio.unshare(owner_of(request), piece, take)
        return Response(status_code=204)

    @router.get(
        "/pieces/{piece}/state",
        response_class=Response,
        responses={200: {"content": {SESSION_KIND: BINARY}}, **refused(404)},
    )
    def state(piece: PieceName, request: Request) -> Response:
        """All takes and the model's states, as the session file from which the command line goes on too."""
        path = studio.session_file(owner_of(request), piece)
        return attached(path.read_bytes(), SESSION_KIND, "piece.rwkvsession")

    @router.post(
        "/states",
        status_code=201,
        responses=refused(*SENT),
        openapi_extra={"requestBody": {"required": True, "content": {SESSION_KIND: BINARY}}},
    )
    async def bring(request: Request) -> PieceTold:
        """Bring a session file back: a new piece of yours."""
        owner = owner_of(request)
        if room.locked():
            raise BusyError("others are sending files at this moment: try again in a minute")
        async with room:
            with tempfile.TemporaryDirectory(prefix="rwkv-music-") as folder:
                path = Path(folder) / "sent.rwkvsession"
                await _write(request, path)
                sitting = await run_in_threadpool(studio.receive, owner, path)
        return await run_in_threadpool(tree, studio, owner, sitting.name)

    return router


async def _write(request: Request, path: Path) -> None:
    """What is sent, to a file; the gate sees to it that it is not too much."""
    with path.open("wb") as file:
        async for part in request.stream():
            file.write(part)
