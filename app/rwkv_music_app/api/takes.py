"""Going on: new takes of a piece as a stream of events, or as one answer."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from rwkv_music_app.api import events
from rwkv_music_app.api.metrics import Metrics
from rwkv_music_app.api.refusals import SENT, refused
from rwkv_music_app.api.routes import VERSION, Key, LastId, PieceName, Streamed, check_resumable
from rwkv_music_app.api.wishes import PieceAndTakesWish, TakesWish
from rwkv_music_app.gate import owner_of
from rwkv_music_app.growth import Growth
from rwkv_music_app.studio import Studio

# Proxies must not gather events.
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class TakeGrown(BaseModel):
    """A take that has grown."""

    take: int
    tokens: int
    bars: float
    seed: int | None
    ended: bool
    stopped: bool
    abc: str | None = None
    trouble: str | None = None


class Grown(BaseModel):
    """Takes that have grown."""

    piece: str
    takes: list[TakeGrown]
    errors: list[str]


# An event as it arrives; its data is JSON.
EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["begun", "token", "bar", "back", "done", "error", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Grown,
        "description": "events, or JSON with ?stream=false",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}


def takes(studio: Studio, metrics: Metrics) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=VERSION, tags=["takes"])

    @router.post("/pieces/{piece}/takes", responses={**STREAM, **refused(*SENT, 404, 409)})
    async def go_on(
        piece: PieceName,
        request: Request,
        wish: TakesWish = TakesWish(),  # type: ignore[call-arg] # noqa: B008
        stream: Streamed = True,
        key: Key = "",
        last_id: LastId = "",
    ) -> Response:
        """Go on with a piece: new takes from any take and bar, or another way than a take went."""
        owner, wanted = owner_of(request), wish.wish(key)
        check_resumable(last_id, key, wish.seed)
        return await _answer(request, lambda: studio.ask(owner, piece, wanted), wish.takes, stream, last_id, metrics)

    @router.post("/generate", responses={**STREAM, **refused(*SENT, 409)})
    async def generate(
        request: Request,
        wish: PieceAndTakesWish = PieceAndTakesWish(),  # type: ignore[call-arg] # noqa: B008
        stream: Streamed = True,
        key: Key = "",
        last_id: LastId = "",
    ) -> Response:
        """Begin a piece and go on with it, in one."""
        owner, wanted = owner_of(request), wish.takes.wish(key)
        check_resumable(last_id, key, wish.takes.seed)

        def ask() -> Growth:
            sitting = studio.begin(owner, wish.piece.begin(), key)
            return studio.ask(owner, sitting.name, wanted)

        return await _answer(request, ask, wish.takes.takes, stream, last_id, metrics)

    return router


async def _answer(
    request: Request, ask: Callable[[], Growth], takes: int, streamed: bool, last_id: str, metrics: Metrics
) -> Response:
    have = events.have_of(last_id, takes)
    first_note = metrics.time_to_first_note()
    # Between the two, the last reader of the same takes may have left and stopped them.
    while not (growth := await asyncio.to_thread(ask)).enter():
        pass
    if streamed:
        return Events(growth, events.stream(growth, have, first_note))
    try:
        told = await events.whole(growth, request.is_disconnected)
    finally:
        growth.leave()
    return Response(Grown(**told).model_dump_json(exclude_none=True), media_type="application/json")


class Events(StreamingResponse):
    """A growth as a stream; it is left when nobody reads on, however far the stream came."""

    media_type = "text/event-stream"

    def __init__(self, growth: Growth, told: AsyncGenerator[str, None]):
        super().__init__(told, headers=HEADERS)
        self._growth = growth

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._growth.leave()
