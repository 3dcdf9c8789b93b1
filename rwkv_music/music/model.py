"""A model as musicians need it: it makes takes from prompts, goes on with them, and judges pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from rwkv_music import session as trees
from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.judging import Verdict, judge
from rwkv_music.library import DEFAULT_MODEL, Chosen, chosen, read_style_name
from rwkv_music.manuscripts.choose import language_of
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.manuscripts.wishes import NO_WISHES
from rwkv_music.music.events import Event
from rwkv_music.music.prompt import Prompt, source_of
from rwkv_music.music.settings import BEGINNING, HOW, Beginning, How, check_names, wishes_of
from rwkv_music.music.tree import Session, at_work
from rwkv_music.prompts import open_source
from rwkv_music.sealed import is_of_form
from rwkv_music.session_file import FORMAT, load_session
from rwkv_music.snapshots import load_snapshot
from rwkv_music.usual import usual_options, usual_sampling, usual_threads

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rwkv_music.music.take import Take


class Settings(Beginning, How, total=False):
    """All that may be said of a piece by name."""


class Model:
    """One model, open. Its methods leave it as it is; any number of sessions may go on at the same time."""

    def __init__(self, engine: Engine, name: str, threads: int | None = None):
        """name: under which the engine was opened. threads: as in `open`."""
        self.engine = engine
        self.name = name
        self.language = language_of(engine)
        self._threads = usual_threads(engine.spec) if threads is None else threads
        self._usual = usual_sampling(engine.config, self.language)

    @classmethod
    def open(
        cls,
        name: str | Path = DEFAULT_MODEL,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        style: str | Path | Sequence[str | Path] = (),
    ) -> Model:
        """The model of that name, or in that file or folder.

        device: "cpu", "cuda" or "cuda:N". dtype: of the weights, "float32", "bfloat16" or on the CPU "int8". threads:
        to compute with; None: as the size of the model suggests. style: what its pieces begin with, by name or file, as
        "NAME" or "NAME:WEIGHT"; several are mixed. Raises like `Engine.open`.
        """
        wanted = [style] if isinstance(style, str | Path) else style
        if wanted:
            name = str(Chosen(chosen(name).model, tuple(read_style_name(str(one)) for one in wanted)))
        return cls(Engine.open(name, device, dtype), str(name), threads)

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.language}, {self.engine.device}, {self.engine.dtype}>"

    @overload
    def generate(
        self, prompt: Prompt | None = None, *, takes: Literal[1] = 1, **settings: Unpack[Settings]
    ) -> Take: ...
    @overload
    def generate(self, prompt: Prompt | None = None, *, takes: int, **settings: Unpack[Settings]) -> list[Take]: ...
    def generate(
        self, prompt: Prompt | None = None, *, takes: int = 1, **settings: Unpack[Settings]
    ) -> Take | list[Take]:
        """A piece that goes on from a prompt, or that begins anew; or a list of several, each with the next seed.

        prompt: path, ABC, bytes of a MIDI file, Score, Performance or Take. The settings, all by name:
        how it begins (`Beginning`): key, meter, tempo, rhythm, unit, title, instruments, prompt_bars, tune;
        how it goes on (`How`): bars, seconds, max_tokens, end, free, limits, seed, temperature, top_p, top_k, min_p,
        top_p_first. Raises ValueError for settings, UserError, NotationError, SamplingError, OSError.
        """
        session = self.session(prompt, **settings)
        return session.go_on(takes=takes, **_only(settings, HOW))

    def stream(self, prompt: Prompt | None = None, **settings: Unpack[Settings]) -> Iterator[Event]:
        """The same for one take, told as it happens; the last event is `Done`. Leaving the loop stops the model."""
        session = self.session(prompt, **settings)
        return session.stream(**_only(settings, HOW))

    def session(self, prompt: Prompt | None = None, **settings: Unpack[Settings]) -> Session:
        """A session that begins with a prompt, or anew: nothing is made yet.

        Settings as in `generate`; those of `How` that draw tokens (seed, temperature, ...) hold until others are given.
        """
        said: dict[str, Any] = dict(settings)
        check_names(said, BEGINNING | HOW)
        options = usual_options(self._usual, said)
        manuscript = self._open(prompt, said)
        with at_work(self._threads):
            return self._session(trees.Session(self.engine, manuscript, options))

    def load(self, path: str | Path) -> Session:
        """The session in a file that `Session.save`, `Take.save` (.rwkvstate), the command line or the studio wrote.

        Raises SealedError for a file of another model or none of ours, or OSError.
        """
        path = Path(path)
        if is_of_form(path, FORMAT):
            with at_work(self._threads):
                return self._session(load_session(path, self.engine))
        snapshot = load_snapshot(path, spec=self.engine.spec, model_hash=self.engine.hash)
        take = trees.Take(0, None, 0, Piece.resume(self.engine, snapshot))
        return self._session(trees.Session.of_takes([take], 0))

    def score(self, piece: Prompt, *, tune: int | None = None) -> Verdict:
        """How surprising a whole piece is to the model: bits by note, by bar and by second. Raises like `generate`."""
        manuscript = open_source(source_of(piece, tune), self.language, NO_WISHES)
        with at_work(self._threads):
            return judge(self.engine, manuscript)

    def _open(self, prompt: Prompt | None, said: dict[str, Any]) -> Manuscript:
        if prompt is None and (lost := [name for name in ("prompt_bars", "tune") if said.get(name) is not None]):
            raise ValueError(f"{lost[0]} chooses from a prompt, and there is none")
        return open_source(source_of(prompt, said.get("tune")), self.language, wishes_of(said))

    def _session(self, tree: trees.Session) -> Session:
        return Session(tree, self.name, self._threads)


def _only(settings: Settings, names: frozenset[str]) -> How:
    """Those of the settings that have such a name."""
    return cast("How", {name: value for name, value in settings.items() if name in names})
