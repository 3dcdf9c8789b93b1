"""What the routes of the API have in common."""

from typing import Annotated

from fastapi import Header, Path, Query

from rwkv_music.errors import UserError

VERSION = "/v1"
PieceName = Annotated[str, Path(max_length=64, description="the name of a piece, as it was told when it was begun")]
TakeNumber = Annotated[int, Path(ge=0, le=1_000_000, description="the number of a take; 0 is the beginning")]
Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="whatever you make up: the same request with the same key is granted once",
    ),
]
LastId = Annotated[
    str,
    Header(alias="Last-Event-ID", max_length=100, description="the id of the last event you have: the rest is sent"),
]
Streamed = Annotated[bool, Query(description="events while it grows; false waits, and answers once with JSON")]


def check_resumable(last_id: str, key: str, seed: int | None) -> None:
    """Raises UserError where the same music could not be made again."""
    if last_id and not key and seed is None:
        raise UserError("Last-Event-ID: only with an Idempotency-Key or a seed is it the same music")
