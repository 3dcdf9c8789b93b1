"""What the page and the tests call: begin a piece, go on from any bar, several takes, keep, undo, redo, branch, stop, export."""

import hashlib
import logging
import tempfile
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.made import Made, making_of
from rwkv_music.manuscripts.choose import language_of
from rwkv_music.sampling import MAX_SEED
from rwkv_music.session import Session, Take, with_seeds
from rwkv_music.usual import usual_options, usual_run, usual_sampling
from rwkv_music_app.arriving import model_of, read_session
from rwkv_music_app.batcher import PATIENCE, Job
from rwkv_music_app.errors import KeyReusedError, NoTakeError, growing
from rwkv_music_app.growth import Growth
from rwkv_music_app.links import Link, Links
from rwkv_music_app.models import Models
from rwkv_music_app.places import Places
from rwkv_music_app.showing import Showing
from rwkv_music_app.sitting import Asked, Sitting
from rwkv_music_app.store import NoSessionError, SessionStore
from rwkv_music_app.tree import fork_of, picture
from rwkv_music_app.turns import Turns
from rwkv_music_app.wants import MOST_TAKES, Begin, GoOn, Wish

# Formats of a download.
FORMATS = ("abc", "mid", "musicxml", "svg", "pdf", "wav")
# Downloads that are engraved or played at the same time, and that wait for it.
AT_ONCE, WAITING = 2, 6
_log = logging.getLogger(__name__)


class Studio:
    """Everything by the name of a session and of whoever asks, who is told of nobody else's. Any thread may call."""

    def __init__(self, folder: Path, models: Models, store: type[SessionStore] = SessionStore, **budgets: float):
        """folder: of sessions; store: `SharedStore` where other processes have it too, who takes the budgets.

        Raises OSError.
        """
        self.models = models
        self.store = store(folder, models.engine, **budgets)  # type: ignore[arg-type]
        self.links = Links(folder / "links")
        self._growths: dict[str, Growth] = {}
        self._places = Places(2 * MOST_TAKES)
        self._showing = Showing(self._growths)
        self._exports = Turns(AT_ONCE, WAITING)
        self._settling = ThreadPoolExecutor(2, thread_name_prefix="rwkv-music-settling")

    def begin(self, owner: str, begin: Begin, key: str = "") -> Sitting:
        """A session of a new piece; nothing is made yet. The same key of the same owner finds the piece begun with it.

        Raises UserError, KeyReusedError where another beginning came with it, NotationError, OSError.
        """
        name = hashlib.sha256(f"{owner} {key}".encode()).hexdigest()[:32] if key else ""
        if key:
            with suppress(NoSessionError):
                return _begun_so(self.store.get(owner, name), begin)
        sitting = self.store.add(owner, *self._session(begin), name, begin.fingerprint if key else "")
        # Somebody may have come with the same key meanwhile.
        return _begun_so(sitting, begin)

    def warm_up(self) -> None:
        """Compose a bar that nobody hears, so that nobody waits for machine code. Raises UserError, OSError."""
        model, session = self._session(Begin())
        takes, runs = session.begin(1), [self._run(session.engine, GoOn(bars=1, seed=1))]
        self.models.batcher(model).grow(takes, with_seeds(runs, 1)).settled.wait()

    def go_on(self, owner: str, name: str, how: GoOn, take: int | None = None, bar: int | None = None) -> Growth:
        """New takes that go on from a take (None: the current one), after the bar line of that number or from the end.

        They grow from now on; `follow` tells of it. Raises UserError, OSError.
        """
        sitting = self.store.get(owner, name)
        with sitting.lock:
            self._check_free(sitting)
            session = sitting.session
            number = session.current if take is None else _take(sitting, take).number
            if bar is not None and not 0 <= bar < len(session.bars(number)):
                raise UserError(f"this take has bar lines 0 to {len(session.bars(number)) - 1}")
            runs = with_seeds([self._run(session.engine, how)], how.takes)
            with ExitStack() as undo:
                self._places.take(sitting.owner, how.takes)
                undo.callback(self._places.free, sitting.owner, how.takes)
                self.store.hold(sitting, lambda: self._stop(sitting))
                undo.callback(self.store.release, sitting)
                _go_to(session, number)
                takes = session.begin(how.takes, bar)
                undo.callback(self._drop, sitting, takes[0].number)
                sitting.growing = {take.number for take in takes}
                undo.callback(sitting.growing.clear)
                job = self.models.batcher(sitting.model).grow(takes, runs, lambda job: self._settle(sitting, job))
                undo.pop_all()
            growth = self._growths[sitting.name] = Growth(sitting, job)
            return growth

    def branch(self, owner: str, name: str, how: GoOn, take: int) -> Growth:
        """Other ways to go on from where a take began. Raises like `go_on`."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            return self.go_on(owner, name, how, *fork_of(sitting, _take(sitting, take)))

    def ask(self, owner: str, name: str, wish: Wish) -> Growth:
        """What `go_on` or `branch` give. A wish that came before, under the same key, is granted once.

        Its takes are found while they grow and when they have grown; where they were stopped, or are not here, the same
        music is made again from the same place. Raises like `go_on`, and KeyReusedError.
        """
        sitting = self.store.get(owner, name)
        if not wish.key:
            return self._granted(owner, sitting, wish)
        while True:
            with sitting.lock:
                asked = sitting.asked.get(wish.key_hash)
                if asked is not None and asked.fingerprint != wish.fingerprint:
                    raise _reused()
                growth = self._growths.get(name)
                if asked is None or growth is None or growth.numbers[0] != asked.first:
                    return self._granted(owner, sitting, wish)
                if not growth.job.cancelled.is_set():
                    return growth
            # It is being stopped: what it made is written first.
            if not growth.at_rest.wait(PATIENCE):
                raise growing()

    def _granted(self, owner: str, sitting: Sitting, wish: Wish) -> Growth:
        """A wish whose takes do not grow yet. Raises like `go_on`."""
        with sitting.lock:
            asked = sitting.asked.get(wish.key_hash) if wish.key else None
            takes = sitting.session.takes[asked.first : asked.first + asked.count] if asked else []
            if asked and asked.whole:
                return Growth.over(sitting, takes)
            self._check_free(sitting)
            take, bar = wish.take, wish.bar
            if takes:
                take, bar = fork_of(sitting, takes[0])
                # They are made anew in their own place, where nobody has a use for them as they are.
                if takes[-1] is sitting.session.takes[-1] and not any(one.number in sitting.wanted for one in takes):
                    del sitting.asked[wish.key_hash]
                    self._drop(sitting, takes[0].number)
            elif wish.instead_of is not None:
                take, bar = fork_of(sitting, _take(sitting, wish.instead_of))
            growth = self.go_on(owner, sitting.name, wish.seeded().how, take, bar)
            if wish.key:
                sitting.note_asked(wish.key_hash, Asked(wish.fingerprint, growth.numbers[0], len(growth.numbers)))
            return growth

    def stop(self, owner: str, name: str) -> None:
        """Stop what grows in a session, and keep what was made; returns when it has stopped. Raises NoSessionError."""
        sitting = self.store.get(owner, name)
        self._stop(sitting)
        self.store.stop_elsewhere(sitting)

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
            self.store.keep(sitting)

    def export(self, owner: str, name: str, take: int, form: str) -> bytes:
        """A take as the content of a file. Raises UserError, NotationError, OSError."""
        return self._exported(self.store.get(owner, name), take, form)

    def session_file(self, owner: str, name: str) -> Path:
        """The file of a session, from which the command line goes on. Raises UserError, OSError."""
        sitting = self.store.get(owner, name)
        self.store.keep(sitting)
        return self.store.file(sitting)

    def receive(self, owner: str, path: Path) -> Sitting:
        """A new session of what is in a file that somebody brought. Raises UserError, OSError."""
        model, styles = model_of(path)
        if model not in self.models.names:
            raise UserError("this session was made with a model that the studio does not offer")
        # What is no name of a style on offer is refused there: it could be that of a file.
        model = self.models.in_style(model, styles) if styles else model
        with self._exports:
            return self.store.add(owner, model, read_session(path, self.models.engine(model)))

    def share(self, owner: str, name: str, take: int) -> str:
        """The token of a link to a take, the same until it is taken back. Raises UserError, OSError."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            if _take(sitting, take).number in sitting.growing:
                raise growing()
            if take not in sitting.shared:
                sitting.shared[take] = self.links.make(Link(sitting.owner, name, take))
                self.store.keep(sitting)
            return sitting.shared[take]

    def unshare(self, owner: str, name: str, take: int) -> None:
        """The link to a take leads nowhere from now on. Raises UserError, OSError."""
        sitting = self.store.get(owner, name)
        with sitting.lock:
            token = sitting.shared.pop(take, None)
            if token is not None:
                self.links.remove(token)
                self.store.keep(sitting)

    def shared(self, token: str, form: str) -> bytes:
        """The take that a link leads to, as the content of a file. Raises NoSessionError, and like `export`."""
        link = self.links.find(token)
        sitting = self.store.of_folder(link.owner, link.session) if link else None
        if link is None or sitting is None or sitting.shared.get(link.take) != token:
            raise NoSessionError("this link leads nowhere: it may have been taken back")
        return self._exported(sitting, link.take, form)

    def clean(self) -> None:
        """Let go of what is old."""
        self.store.clean()
        self.links.clean(lambda link: self.store.has(link.owner, link.session))

    def picture(self, owner: str, name: str) -> dict[str, Any]:
        """The tree of takes, and where one is in it. Raises NoSessionError."""
        return picture(self.store.get(owner, name))

    def since(self, owner: str, name: str, take: int, version: int = 0) -> dict[str, Any]:
        """What changed in a take after the version that is known. Raises UserError."""
        sitting = self.store.get(owner, name)
        return self._showing.look(sitting, _take(sitting, take), version)

    def follow(self, growth: Growth) -> AsyncGenerator[dict[str, Any], None]:
        """What there is to see while takes grow, and at last when they have; whoever goes away stops them."""
        return self._showing.follow(growth)

    def close(self) -> None:
        """Stop what grows, and write everything."""
        self.models.close()
        self._settling.shutdown(wait=True)

    def _stop(self, sitting: Sitting) -> None:
        growth = self._growths.get(sitting.name)
        if growth is not None:
            self.models.batcher(sitting.model).cancel(growth.job)
            growth.at_rest.wait(PATIENCE)

    def _settle(self, sitting: Sitting, job: Job) -> None:
        """A job is over: what it made is written, in another thread than the batcher's."""
        self._settling.submit(self._write, sitting, job)

    def _write(self, sitting: Sitting, job: Job) -> None:
        # Not before `go_on` has let go of the lock.
        with sitting.lock:
            growth = self._growths[sitting.name]
            try:
                try:
                    for row in job.rows:
                        sitting.note_surprise(row.take, row.bits)
                    _note_whole(sitting, job)
                    sitting.session.keep_budget()
                finally:
                    sitting.growing = set()
                    del self._growths[sitting.name]
                    self._places.free(sitting.owner, len(job.rows))
                    growth.at_rest.set()
                self.store.keep(sitting)
            except OSError as error:
                # What was made is there all the same, until the studio closes.
                _log.error("a piece could not be written: %s", error)
                growth.errors.append("the studio's disk is full or cannot be written: download what you want to keep")
            except Exception:
                _log.exception("a piece that has grown could not be put away")
                growth.errors.append("the studio failed to put this piece away: download what you want to keep")
            finally:
                try:
                    self.store.release(sitting)
                finally:
                    job.settled.set()

    def _exported(self, sitting: Sitting, take: int, form: str) -> bytes:
        if form not in FORMATS:
            raise UserError(f"there are {', '.join(FORMATS)}")
        piece = _take(sitting, take).piece
        made = Made(piece.work(), making_of(piece, sitting.model).line())
        with self._exports, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"take.{form}"
            made.save(path)
            return path.read_bytes()

    def _drop(self, sitting: Sitting, first: int) -> None:
        """Let go of takes that nothing grew from."""
        self._showing.forget(sitting, first)
        sitting.drop(first)

    def _check_free(self, sitting: Sitting) -> None:
        if sitting.growing:
            raise growing()

    def _session(self, begin: Begin) -> tuple[str, Session]:
        """The model of a piece, and the session in which nothing is made yet. Raises UserError, NotationError, OSError."""
        source = begin.source()
        model = self.models.in_style(begin.model, begin.style) if begin.style else begin.usual_model(source)
        engine = self.models.engine(model)
        language = language_of(engine)
        manuscript = begin.manuscript(source, language)
        options = usual_options(usual_sampling(engine.config, language), {})
        return model, Session(engine, manuscript, options)

    def _run(self, engine: Engine, how: GoOn) -> Any:
        """What the command line would make of it. Raises UserError."""
        usual = usual_sampling(engine.config, language_of(engine))
        try:
            options = usual_options(usual, how.sampling())
            if options.seed + how.takes > MAX_SEED:
                raise UserError(f"a seed is at most {MAX_SEED - how.takes}")
            return usual_run(options, bars=how.bars, end=how.end or None, limits=how.limits())
        except ValueError as error:
            raise UserError(str(error)) from None


def _begun_so(sitting: Sitting, begin: Begin) -> Sitting:
    """A session, if it begins so as far as is known. Raises KeyReusedError."""
    if sitting.begun_with not in ("", begin.fingerprint):
        raise _reused()
    return sitting


def _reused() -> KeyReusedError:
    return KeyReusedError("this key came with another request before: choose a new one")


def _go_to(session: Session, take: int) -> None:
    try:
        if take != session.current:
            session.go_to(take)
    except ValueError as error:
        raise NoTakeError(str(error)) from None


def _take(sitting: Sitting, number: int) -> Take:
    takes = sitting.session.takes
    if not 0 <= number < len(takes):
        raise NoTakeError(f"there are takes 0 to {len(takes) - 1}, not {number}")
    return takes[number]


def _note_whole(sitting: Sitting, job: Job) -> None:
    """Whoever asked for these takes can be told of them once more from their tokens alone."""
    first = job.rows[0].take.number
    for asked in sitting.asked.values():
        if asked.first == first:
            asked.whole = not job.cancelled.is_set() and all(e.kind in ("token", "bar", "done") for e in job.log)
