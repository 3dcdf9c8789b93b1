"""Takes on their way to a page: looked at while they grow, every look told as what changed since the one before."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from rwkv_music.session import Take
from rwkv_music_app.growth import Growth
from rwkv_music_app.sitting import Sitting
from rwkv_music_app.tree import picture
from rwkv_music_app.views import View

# Seconds between two looks at what grows; and how much more than a look takes lies between two.
PAUSE = 0.08
LEISURE = 3.0
# Seconds between two glances at whether it grows at all.
GLANCE = 0.02
# The sheet of a performance takes longer than all else, and is drawn anew every so many seconds.
SHEET_PAUSE = 1.0
MOST_VIEWS = 128


class Showing:
    """The views of takes, those looked at last."""

    def __init__(self, growths: Mapping[str, Growth]):
        """growths: what grows at this moment, by the name of its session."""
        self._growths = growths
        self._views: dict[tuple[str, int], View] = {}
        self._lock = threading.Lock()

    async def follow(self, growth: Growth) -> AsyncGenerator[dict[str, Any], None]:
        """What there is to see while takes grow, and at last when they have; whoever goes away stops them."""
        have = dict.fromkeys(growth.numbers, 0)
        sheet_due, errors = 0.0, []
        growth.enter()
        try:
            yield {"session": growth.sitting.name, "tree": picture(growth.sitting), "takes": {}}
            over = False
            while not over:
                over = growth.at_rest.is_set() or growth.job.settled.is_set()
                begun = time.monotonic()
                sheet = over or begun > sheet_due
                seen = await asyncio.to_thread(lambda: self._seen(growth, have, sheet, over))  # noqa: B023
                took = time.monotonic() - begun
                if sheet:
                    sheet_due = begun + max(SHEET_PAUSE, LEISURE * took)
                # What comes while this is sent is told at the end.
                errors = list(growth.errors) if over else []
                if over or seen:
                    tree = {"tree": picture(growth.sitting)} if over else {}
                    yield {"session": growth.sitting.name, "takes": seen, **tree, "errors": errors}
                if not over:
                    pause = max(PAUSE, LEISURE * took) if any(have.values()) else PAUSE / 4
                    await _set_within(growth.at_rest, pause)
            while not await _set_within(growth.job.settled, PAUSE):
                pass
            if growth.errors[len(errors) :]:
                yield {"session": growth.sitting.name, "takes": {}, "errors": growth.errors[len(errors) :]}
        finally:
            growth.leave()

    def look(self, sitting: Sitting, take: Take, version: int, sheet: bool = True) -> dict[str, Any]:
        """What changed in a take after the version that is known; sheet: also in its sheet."""
        with self._lock:
            place = sitting.name, take.number
            view = self._views[place] = self._views.pop(place, None) or View()
            while len(self._views) > MOST_VIEWS:
                del self._views[next(iter(self._views))]
        view.update(take.piece, self._bits(sitting, take), sheet)
        return view.since(version)

    def forget(self, sitting: Sitting, first: int) -> None:
        """The takes of a session from a number on are no more."""
        with self._lock:
            for number in range(first, len(sitting.session.takes)):
                self._views.pop((sitting.name, number), None)

    def _seen(self, growth: Growth, have: dict[int, int], sheet: bool, over: bool) -> dict[str, dict[str, Any]]:
        """What changed in the takes that grow, or have grown; `have` is brought up to date."""
        happened = False
        while not growth.job.events.empty():
            event = growth.job.events.get()
            happened = True
            if event.kind == "error":
                growth.errors.append(event.text)
        seen = {}
        for number in growth.due(over) if happened or sheet else ():
            # The sheet of the take that is looked at; of the others when they have grown.
            own = sheet and (over or number == growth.sitting.session.current)
            told = self.look(growth.sitting, growth.sitting.session.takes[number], have[number], own)
            if told["version"] != have[number]:
                have[number] = told["version"]
                seen[str(number)] = told
        return seen

    def _bits(self, sitting: Sitting, take: Take) -> Any:
        growth = self._growths.get(sitting.name)
        if growth is not None and take.number in sitting.growing:
            row = next(row for row in growth.job.rows if row.take is take)
            return sitting.surprised_so_far(take, row.bits)
        return sitting.surprised(take.number)


async def _set_within(event: threading.Event, seconds: float) -> bool:
    """Wait so long at the most, without a thread of one's own. True where it is set."""
    until = time.monotonic() + seconds
    while not event.is_set() and time.monotonic() < until:
        await asyncio.sleep(min(GLANCE, seconds))
    return event.is_set()
