"""Takes that grow, told as server-sent events. Every event is decided by the music, and so is its number.

The numbers of what one has of each take, joined by dots, are the id of an event: whoever lost a stream says the last one
and is told the rest, by whichever server makes the music.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music.session import Take
from rwkv_music.works import Tune
from rwkv_music_app.batcher import Event
from rwkv_music_app.growth import Growth
from rwkv_music_app.playing_on import PlayingOn
from rwkv_music_app.sitting import Sitting
from rwkv_music_app.telling import told
from rwkv_music_app.views import notes_of
from rwkv_music_tokenizers.errors import NotationError

ID = re.compile(r"\d{1,9}(\.\d{1,9})*")
# Notes are told at every bar line of a piece of so many tokens, at every second one of a piece twice as long, and so on.
# A tune takes longer to read.
EVERY = {"abc": 256}
SELDOM = 8192
# Seconds between two looks at what grows, and after which a silent stream says that it is alive.
PAUSE = 0.02
ALIVE = 10.0


def have_of(last_id: str, takes: int) -> list[int]:
    """How many events of each take somebody has, by the id of the last one; "" is none. Raises UserError."""
    if not last_id:
        return [0] * takes
    have = [int(part) for part in last_id.split(".")] if ID.fullmatch(last_id) else []
    if len(have) != takes:
        raise UserError("Last-Event-ID: not the id of an event of this request")
    return have


class Telling:
    """One take's events, as data; `count` is the number of the last one. Told again from the beginning, it is the same."""

    def __init__(self, sitting: Sitting, take: Take):
        self.sitting = sitting
        self.take = take
        self.count = 0
        piece = take.piece
        # The number of the last bar line, from behind which a further take can go on; at first of where this one began.
        self.bar = sum(moment.length - piece.prompt_length < take.after for moment in list(piece.moments))
        # New notes were told.
        self.sounded = False
        self._made = list(take.piece.made[: take.after])
        # New tokens whose notes were told last; and these notes, where they were looked at.
        self._told = tuple(self._made)
        self._notes: tuple[Any, ...] | None = None
        self._playing = PlayingOn()

    def follow(self, event: Event) -> Callable[[], dict[str, Any]]:
        """The next event happened; call what is returned for its data, before the next one, if it is wanted."""
        self.count += 1
        begun = {"take": self.take.number, "number": self.count}
        match event.kind:
            case "token":
                self._made.append(event.number)
                return lambda: {**begun, "text": event.text}
            case "back":
                del self._made[event.number :]
                return lambda: {**begun, "tokens": event.number}
            case "bar":
                self.bar += 1
                begun["bar"] = self.bar
                return (lambda: begun) if self.bar % self._step() else self._with_notes(lambda: begun)
            case "error":
                return lambda: {**begun, "error": event.text}
            case _:
                take = self.take
                return self._with_notes(lambda: {**begun, **ended(self.sitting, take)}, take.piece.ended)

    def _step(self) -> int:
        """Bar lines from one telling of notes to the next."""
        piece = self.take.piece
        return 1 + (piece.prompt_length + len(self._made)) // EVERY.get(piece.manuscript.language, SELDOM)

    def _with_notes(self, plain: Callable[[], dict[str, Any]], whole: bool = False) -> Callable[[], dict[str, Any]]:
        """Notes until here, as what they change in those that were told before."""
        before, known = self._told, self._notes
        self._told, self._notes = tuple(self._made), None

        def told() -> dict[str, Any]:
            old = self._read(before)[0] if known is None else known
            now, voices = self._read(self._told, whole)
            first = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, now, strict=False)))
            self._notes, self.sounded = now, self.sounded or len(now) > first
            return {**plain(), "notes": {"from": first, "new": now[first:]}, "voices": voices}

        return told

    def _read(self, made: Sequence[int], whole: bool = False) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """All notes of the piece with these new tokens, and who plays them; none while it cannot be read."""
        try:
            return notes_of(self._playing.played(self.take.piece.manuscript.work(made, whole)))
        except (UserError, NotationError):
            return (), ()


def ended(sitting: Sitting, take: Take) -> dict[str, Any]:
    """A take that has grown, in a few words; with the tune, where it is one that is written."""
    piece = take.piece
    at, run = piece.stretches[-1] if piece.stretches else (-1, None)
    plain: dict[str, Any] = {
        "tokens": piece.length - take.after,
        "bars": round(sitting.bars(take), 2),
        "seed": run.options.seed if run else None,
        "ended": piece.ended,
        # By whoever asked for it, before it was whole.
        "stopped": run is None or at != take.after or run.cut is not None,
    }
    try:
        work = piece.work()
        return {**plain, "abc": work.abc} if isinstance(work, Tune) else plain
    except (UserError, NotationError) as error:
        return {**plain, "trouble": told(error)}


async def stream(
    growth: Growth, have: Sequence[int], first_note: Callable[[], None] = lambda: None
) -> AsyncGenerator[str, None]:
    """The events of a growth, but those one has.

    first_note: called when the first note is told.
    """
    tellings = {take.number: Telling(growth.sitting, take) for take in growth.takes}
    known = dict(zip(growth.numbers, have, strict=True))
    noted = any(have)
    place, silent = 0, time.monotonic()
    yield event_of("begun", {"piece": growth.sitting.name, "takes": growth.numbers})
    over = False
    while not over:
        over = growth.job.settled.is_set()
        for event in growth.job.log[place:]:
            place += 1
            telling = tellings[event.take]
            data = telling.follow(event)
            if telling.count > known[event.take]:
                numbers = (max(one.count, known[number]) for number, one in tellings.items())
                found = data() if event.kind == "token" else await asyncio.to_thread(data)
                yield event_of(event.kind, found, ".".join(map(str, numbers)))
                silent = time.monotonic()
                if telling.sounded and not noted:
                    noted = True
                    first_note()
        if not over:
            if time.monotonic() - silent > ALIVE:
                silent = time.monotonic()
                yield ": alive\n\n"
            await asyncio.sleep(PAUSE)
    for line in growth.errors:
        yield event_of("error", {"error": line})
    yield event_of("end", {"piece": growth.sitting.name, "takes": growth.numbers})


async def whole(growth: Growth, is_gone: Callable[[], Awaitable[bool]]) -> dict[str, Any]:
    """What has grown at the end, in one answer. is_gone: asked now and then, whether nobody waits any more."""
    while not growth.job.settled.is_set() and not await is_gone():
        await asyncio.sleep(PAUSE)
    errors = [event.text for event in growth.job.log if event.kind == "error"] + growth.errors
    sitting = growth.sitting
    takes = await asyncio.to_thread(lambda: [{"take": one.number, **ended(sitting, one)} for one in growth.takes])
    return {"piece": sitting.name, "takes": takes, "errors": errors}


def event_of(kind: str, data: dict[str, Any], number: str = "") -> str:
    """An event as it goes over the wire."""
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"
