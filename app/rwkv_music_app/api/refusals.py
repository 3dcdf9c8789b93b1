"""Every error of the studio as an HTTP status and one line."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from rwkv_music.errors import UserError
from rwkv_music_app.batcher import BusyError
from rwkv_music_app.errors import GrowingError, NoTakeError, TooManyError
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.telling import MINE, told
from rwkv_music_tokenizers.errors import NotationError

# The first that fits counts.
STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (NoSessionError, 404),
    (NoTakeError, 404),
    (GrowingError, 409),
    (TooManyError, 429),
    (BusyError, 503),
    (OSError, 503),
    (UserError, 422),
    (NotationError, 422),
)
# What any request may be answered; and any that sends something.
ALWAYS = (401, 403, 422, 429, 503)
SENT = (400, 408, 413)
# Seconds after which those who were too many may try again.
LATER = {"retry-after": "5"}


class Refusal(BaseModel):
    """Why a request was not granted."""

    error: str


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer besides what was asked for, as OpenAPI wants to know it."""
    return {status: {"model": Refusal} for status in sorted({*statuses, *ALWAYS})}


def add_refusals(api: FastAPI) -> None:
    """Errors leave as {"error": one line}."""

    async def mine(_: Request, error: Exception) -> JSONResponse:
        status = status_of(error)
        return answer(status, told(error), LATER if status in (429, 503) else None)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(422, _line(error))

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(error.status_code, str(error.detail), error.headers)

    for kind in MINE:
        api.add_exception_handler(kind, mine)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(HTTPException, http)


def answer(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as it leaves."""
    return JSONResponse({"error": line}, status, headers)


def _line(error: RequestValidationError) -> str:
    """The first thing that is wrong, and where; nothing of what was sent."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:])[:80]
    return f"{place}: {first['msg']}"[:400] if place else str(first["msg"])[:400]
