"""What the page and the tests call: begin a piece, go on from any bar, several takes, keep, undo, redo, branch, stop, export."""

import asyncio
import logging
import tempfile
import threading
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music.made import Made, making_of
from rwkv_music.manuscripts.choose import language_of
from rwkv_music.sampling import MAX_SEED
from rwkv_music.session import Session, Take, with_seeds
from rwkv_music.usual import usual_options, usual_run, usual_sampling
from rwkv_music_app.batcher import PATIENCE, Job
from rwkv_music_app.models import Models
from rwkv_music_app.store import SessionStore, Sitting
from rwkv_music_app.views import View
from rwkv_music_app.wants import MOST_TAKES, Begin, GoOn

# Formats of a download, and the one that brings everything back.
FORMATS = ("abc", "mid", "musicxml", "svg", "pdf", "wav")
# Downloads that are engraved or played at the same time.
AT_ONCE = 2
# Seconds between two looks at what grows; and how much more than a look takes lies between two.
PAUSE = 0.08
LEISURE = 3.0
# The sheet of a performance takes longer than all else, and is drawn anew every so many seconds.
SHEET_PAUSE = 1.0
MOST_VIEWS = 512

_log = logging.getLogger(__name__)


class Growth:
    """Takes of one session that grow."""

    def __init__(self, sitting: Sitting, job: Job):
        self.sitting = sitting
        self.job = job
        self.numbers = [row.take.number for row in job.rows]
        self.errors: list[str] = []
        # Nothing grows any more; what was made may still be on its way to the disk.
        self.at_rest = threading.Event()
        self._turn = 0

    def due(self, whole: bool) -> list[int]:
        """The takes to look at now: the one that is shown and the next of the others, or the whole of them."""
        if whole:
            return self.numbers
        current = self.sitting.session.current
        others = [number for number in self.numbers if number != current]
        self._turn += 1
        shown = [current] if current in self.numbers else []
        return [*shown, *(others[self._turn % len(others)] for _ in others[:1])]


class Studio:
    """Everything by the name of a session and of whoever asks, who is told of nobody else's. Any thread may call."""

    def __init__(self, folder: Path, models: Models, **budgets: float):
        """folder: of sessions; budgets: see `SessionStore`. Raises OSError."""
        self.models = models
        self.store = SessionStore(folder, models.engine, **budgets)  # type: ignore[arg-type]
        self._views: dict[tuple[str, int], View] = {}
        self._growths: dict[str, Growth] = {}
        self._lock = threading.Lock()
        self._exports = threading.BoundedSemaphore(AT_ONCE)
        self._settling = ThreadPoolExecutor(2, thread_name_prefix="rwkv-music-settling")

    def begin(self, owner: str, begin: Begin) -> Sitting:
        """A session of a new piece; nothing is made yet. Raises UserError, NotationError, OSError."""
        source = begin.source()
        name = self.models.in_style(begin.model, begin.style) if begin.style else begin.usual_model(source)
        engine = self.models.engine(name)
        language = language_of(engine)
        manuscript = begin.manuscript(source, language)
        options = usual_options(usual_sampling(engine.config, language), {})
        return self.store.add(owner, name, Session(engine, manuscript, options))

    def go_on(self, owner: str, name: str, how: GoOn, take: int | None = None, bar: int | None = None) -> Growth:
        """New takes that go on from a take (None: the current one), after the bar line of that number or from the end.

        They grow from now on; `follow` tells of it. Raises UserError, OSError.
        """
        sitting = self.store.get(owner, name)
        with sitting.lock:
            self._check_free(sitting)
            session = sitting.session
            _go_to(session, session.current if take is None else take)
            if bar is not None and not 0 <= bar < len(session.bars()):
                raise UserError(f"this take has bar lines 0 to {len(session.bars()) - 1}")
            runs = with_seeds([self._run(sitting, how)], how.takes)
            takes = session.begin(how.takes, bar)
            sitting.growing = {take.number for take in takes}
            try:
                job = self.models.batcher(sitting.model).grow(takes, runs, lambda job: self._settle(sitting, job))
            except UserError:
                del session.takes[takes[0].number :]
                sitting.growing = set()
                _go_to(session, takes[0].parent or 0)
                raise
            growth = self._growths[sitting.name] = Growth(sitting, job)
            return growth

    def branch(self, owner: str, name: str, how: GoOn, take: int) -> Growth:
        """Other ways to go on from where a take began. Raises like `go_on`."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            _go_to(sitting.session, take)
            begun = sitting.session.take
            if begun.parent is None:
                return self.go_on(owner, name, how, 0)
            parent = sitting.session.takes[begun.parent].piece
            lengths = [moment.length - parent.prompt_length for moment in parent.moments] or [0]
            bar = lengths.index(begun.after) if begun.after in lengths and begun.after != parent.length else None
            return self.go_on(owner, name, how, begun.parent, bar)

    def stop(self, owner: str, name: str) -> None:
        """Stop what grows in a session, and keep what was made; returns when it has stopped. Raises NoSessionError."""
        sitting = self.store.get(owner, name)
        growth = self._growths.get(sitting.name)
        if growth is not None:
            self.models.batcher(sitting.model).cancel(growth.job)
            growth.at_rest.wait(PATIENCE)

    def undo(self, owner: str, name: str) -> None:
        """Back to the take before. Raises NoSessionError."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            sitting.session.undo()

    def redo(self, owner: str, name: str) -> None:
        """Forth again. Raises NoSessionError."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            sitting.session.redo()

    def go_to(self, owner: str, name: str, take: int) -> None:
        """To any take. Raises UserError for a take there is not."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            _go_to(sitting.session, take)

    def keep(self, owner: str, name: str, take: int, kept: bool) -> None:
        """A take is worth keeping, or no longer; a session with a kept one does not grow old. Raises UserError, OSError."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            _take(sitting, take)
            (sitting.kept.add if kept else sitting.kept.discard)(take)
            if not sitting.growing:
                self.store.keep(sitting)

    def export(self, owner: str, name: str, take: int, form: str) -> bytes:
        """A take as the content of a file. Raises UserError, NotationError, OSError."""
        if form not in FORMATS:
            raise UserError(f"there are {', '.join(FORMATS)}")
        sitting = self.store.get(owner, name)
        piece = _take(sitting, take).piece
        made = Made(piece.work(), making_of(piece, sitting.model).line())
        with self._exports, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"take.{form}"
            made.save(path)
            return path.read_bytes()

    def session_file(self, owner: str, name: str) -> Path:
        """The file of a session, from which the command line goes on. Raises UserError, OSError."""
        sitting = self.store.get(owner, name)
        if not sitting.growing:
            self.store.keep(sitting)
        return self.store.file(sitting)

    def picture(self, owner: str, name: str) -> dict[str, Any]:
        """The tree of takes, and where one is in it. Raises NoSessionError."""
        return self._picture(self.store.get(owner, name))

    def since(self, owner: str, name: str, take: int, version: int = 0) -> dict[str, Any]:
        """What changed in a take after the version that is known. Raises UserError."""
        sitting = self.store.get(owner, name)
        return self._look(sitting, _take(sitting, take), version)

    async def follow(self, growth: Growth) -> AsyncGenerator[dict[str, Any], None]:
        """What there is to see while takes grow, and at last when they have; whoever goes away stops them."""
        have = dict.fromkeys(growth.numbers, 0)
        sheet_due = 0.0
        yield {"session": growth.sitting.name, "tree": self._picture(growth.sitting), "takes": {}}
        try:
            over = False
            while not over:
                over = growth.job.settled.is_set()
                begun = time.monotonic()
                sheet = over or begun > sheet_due
                seen = await asyncio.to_thread(lambda: self._seen(growth, have, sheet))  # noqa: B023
                took = time.monotonic() - begun
                if sheet:
                    sheet_due = begun + max(SHEET_PAUSE, LEISURE * took)
                if over or seen:
                    tree = {"tree": self._picture(growth.sitting)} if over else {}
                    yield {"session": growth.sitting.name, "takes": seen, **tree, "errors": growth.errors * over}
                if not over:
                    await asyncio.sleep(max(PAUSE, LEISURE * took) if any(have.values()) else PAUSE / 4)
        finally:
            growth.job.cancelled.set()

    def close(self) -> None:
        """Stop what grows, and write everything."""
        self.models.close()
        self._settling.shutdown(wait=True)

    def _seen(self, growth: Growth, have: dict[int, int], sheet: bool) -> dict[str, dict[str, Any]]:
        """What changed in the takes that grow; `have` is brought up to date."""
        happened = False
        while not growth.job.events.empty():
            event = growth.job.events.get()
            happened = True
            if event.kind == "error":
                growth.errors.append(event.text)
        seen = {}
        for number in growth.due(sheet and growth.job.settled.is_set()) if happened or sheet else ():
            # The sheet of the take that is looked at; of the others when they have grown.
            own = sheet and (growth.job.settled.is_set() or number == growth.sitting.session.current)
            told = self._look(growth.sitting, growth.sitting.session.takes[number], have[number], own)
            if told["version"] != have[number]:
                have[number] = told["version"]
                seen[str(number)] = told
        return seen

    def _look(self, sitting: Sitting, take: Take, version: int, sheet: bool = True) -> dict[str, Any]:
        with self._lock:
            while len(self._views) > MOST_VIEWS:
                del self._views[next(iter(self._views))]
            view = self._views.setdefault((sitting.name, take.number), View())
        view.update(take.piece, self._bits(sitting, take), sheet)
        return view.since(version)

    def _bits(self, sitting: Sitting, take: Take) -> Any:
        growth = self._growths.get(sitting.name)
        if growth is not None and take.number in sitting.growing:
            row = next(row for row in growth.job.rows if row.take is take)
            return sitting.surprised_so_far(take, row.bits)
        return sitting.surprised(take.number)

    def _settle(self, sitting: Sitting, job: Job) -> None:
        """A job is over: what it made is written, in another thread than the batcher's."""
        self._settling.submit(self._write, sitting, job)

    def _write(self, sitting: Sitting, job: Job) -> None:
        # Not before `go_on` has let go of the lock.
        with sitting.lock:
            growth = self._growths.pop(sitting.name)
        try:
            with sitting.lock:
                for row in job.rows:
                    sitting.note_surprise(row.take, row.bits)
                sitting.growing = set()
                sitting.session.keep_budget()
                growth.at_rest.set()
                self.store.keep(sitting)
        except OSError as error:
            # What was made is there all the same, until the studio closes.
            _log.error("a piece could not be written: %s", error)
            growth.errors.append("the studio's disk is full or cannot be written: download what you want to keep")
        finally:
            job.settled.set()

    def _check_free(self, sitting: Sitting) -> None:
        if sitting.growing:
            raise UserError("this piece is being composed: stop it first")
        busy = sum(
            len(growth.numbers) for growth in list(self._growths.values()) if growth.sitting.owner == sitting.owner
        )
        if busy >= 2 * MOST_TAKES:
            raise UserError("you are composing many pieces already: wait for one, or stop it")

    def _run(self, sitting: Sitting, how: GoOn) -> Any:
        """What the command line would make of it. Raises UserError."""
        engine = sitting.session.engine
        usual = usual_sampling(engine.config, language_of(engine))
        try:
            options = usual_options(usual, how.sampling())
            if options.seed + how.takes > MAX_SEED:
                raise UserError(f"a seed is at most {MAX_SEED - how.takes}")
            return usual_run(options, bars=how.bars, end=how.end or None, limits=how.limits())
        except ValueError as error:
            raise UserError(str(error)) from None

    def _picture(self, sitting: Sitting) -> dict[str, Any]:
        session = sitting.session
        return {
            "current": session.current,
            "title": sitting.title,
            "model": sitting.model,
            "redo": session.can_redo,
            "growing": sorted(sitting.growing),
            "takes": [_branch(sitting, take) for take in list(session.takes)],
        }


def _go_to(session: Session, take: int) -> None:
    try:
        if take != session.current:
            session.go_to(take)
    except ValueError as error:
        raise UserError(str(error)) from None


def _take(sitting: Sitting, number: int) -> Take:
    takes = sitting.session.takes
    if not 0 <= number < len(takes):
        raise UserError(f"there are takes 0 to {len(takes) - 1}, not {number}")
    return takes[number]


def _branch(sitting: Sitting, take: Take) -> dict[str, Any]:
    """A take as the tree tells of it."""
    piece = take.piece
    lengths = [moment.length - piece.prompt_length for moment in list(piece.moments)] or [0]
    before = sum(length <= take.after for length in lengths)
    return {
        "take": take.number,
        "parent": take.parent,
        # Bar lines of new music before it went its own way.
        "from": max(0, before - 1),
        "bars": round(sitting.bars(take), 2) if take.number not in sitting.growing else 0,
        "seed": piece.stretches[-1][1].options.seed if piece.stretches else None,
        "kept": take.number in sitting.kept,
        "ended": piece.ended,
        "growing": take.number in sitting.growing,
    }
