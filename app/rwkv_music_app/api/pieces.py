"""Pieces: begun, listed, looked at, stopped, and let go of."""

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from rwkv_music_app.api.refusals import SENT, refused
from rwkv_music_app.api.routes import VERSION, Key, PieceName
from rwkv_music_app.api.wishes import PieceWish
from rwkv_music_app.gate import owner_of
from rwkv_music_app.studio import Studio


class TakeTold(BaseModel):
    """A take in the tree."""

    take: int
    parent: int | None
    line: int = Field(alias="from", description="bar lines of new music before it went its own way")
    bars: float
    seed: int | None
    kept: bool
    ended: bool
    growing: bool


class PieceTold(BaseModel):
    """A piece: the tree of its takes, and which is the current one."""

    piece: str
    title: str
    model: str
    current: int
    growing: list[int]
    takes: list[TakeTold]


class Listed(BaseModel):
    """A piece in the list of one's pieces."""

    piece: str
    title: str
    takes: int
    kept: int
    touched: float = Field(description="seconds since 1970")


def pieces(studio: Studio) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix=VERSION, tags=["pieces"])

    @router.post("/pieces", status_code=201, responses=refused(*SENT))
    async def begin(wish: PieceWish, request: Request, key: Key = "") -> PieceTold:
        """Begin a piece. Nothing is made yet; see `takes`."""
        owner = owner_of(request)
        sitting = await asyncio.to_thread(lambda: studio.begin(owner, wish.begin(), key))
        return await asyncio.to_thread(tree, studio, owner, sitting.name)

    @router.get("/pieces", responses=refused())
    def listed(request: Request) -> list[Listed]:
        """Your pieces, the one used last first."""
        return [Listed(piece=one.name, **vars(one)) for one in studio.store.told(owner_of(request))]

    @router.get("/pieces/{piece}", responses=refused(404))
    def look(piece: PieceName, request: Request) -> PieceTold:
        """A piece: the tree of its takes."""
        return tree(studio, owner_of(request), piece)

    @router.delete("/pieces/{piece}", status_code=204, responses=refused(404, 409))
    def forget(piece: PieceName, request: Request) -> Response:
        """Let go of a piece for good."""
        studio.store.forget(owner_of(request), piece)
        return Response(status_code=204)

    @router.post("/pieces/{piece}/cancel", responses=refused(404))
    def cancel(piece: PieceName, request: Request) -> PieceTold:
        """Stop what grows in a piece; what was made is kept. Answers when it has stopped."""
        studio.stop(owner_of(request), piece)
        return tree(studio, owner_of(request), piece)

    return router


def tree(studio: Studio, owner: str, piece: str) -> PieceTold:
    """A piece as it is told. Raises NoSessionError."""
    return PieceTold.model_validate({"piece": piece, **studio.picture(owner, piece)})
