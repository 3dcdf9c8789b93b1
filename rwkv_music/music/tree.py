"""A prompt and the tree of takes that grew from it: go on, undo, branch, and go on from any bar of any take."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from rwkv_music import session as trees
from rwkv_music.files import FileError, refuse_overwriting
from rwkv_music.made import making_of
from rwkv_music.making import Run
from rwkv_music.music.events import Bar, Done, Event, Token
from rwkv_music.music.page import page
from rwkv_music.music.settings import HOW, OF_RUN, How, check_names
from rwkv_music.music.take import Take
from rwkv_music.sampling import MAX_SEED
from rwkv_music.session_file import save_session
from rwkv_music.usual import usual_options, usual_run

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Takes that are made in one batch.
AT_ONCE = 16


@contextmanager
def at_work(threads: int) -> Generator[None, None, None]:
    """Compute with so many threads, and leave the process as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Session:
    """Takes by number, the prompt being take 0, and the one where one is. Made by `Model.session` and `Model.load`.

    Going on from a take does so with the same generator, as if it had never stopped; a second try from the same place
    takes the next seed, unless one is given.
    """

    def __init__(self, tree: trees.Session, model: str, threads: int):
        self._tree = tree
        self._model = model
        self._threads = threads

    def __repr__(self) -> str:
        return f"<Session: take {self._tree.current} of {len(self)}, {self._model}>"

    def __len__(self) -> int:
        """How many takes there are, besides the prompt."""
        return len(self._tree.takes) - 1

    @property
    def take(self) -> Take:
        """The take where one is."""
        return self._taken(self._tree.current)

    @property
    def takes(self) -> list[Take]:
        """All takes in the order they were made, the prompt first."""
        return [self._taken(number) for number in range(len(self._tree.takes))]

    @property
    def path(self) -> list[int]:
        """The numbers of the takes from the prompt to the current one."""
        return self._tree.path()

    @property
    def bars(self) -> int:
        """How many bar lines of the current take there are to go on from; 0 is the end of the prompt."""
        return len(self._tree.bars()) - 1

    @overload
    def go_on(self, *, takes: Literal[1] = 1, bar: int | None = None, **how: Unpack[How]) -> Take: ...
    @overload
    def go_on(self, *, takes: int, bar: int | None = None, **how: Unpack[How]) -> list[Take]: ...
    def go_on(self, *, takes: int = 1, bar: int | None = None, **how: Unpack[How]) -> Take | list[Take]:
        """A new take that goes on from the current one, or a list of several; the first is then the current one.

        bar: goes on from behind the bar line of that number (0 to `bars`) instead of from the end. takes: how many,
        each with the next seed. For the rest see `How`. Raises ValueError, SamplingError.
        """
        if takes < 1:
            raise ValueError(f"takes must be a whole number, 1 or more, not {takes!r}")
        run, start = self._run(how, bar), self._tree.current
        first = len(self._tree.takes)
        for begun in range(0, takes, AT_ONCE):
            self._tree.go_to(start)
            runs = [(_next(run, begun + place),) for place in range(min(AT_ONCE, takes - begun))]
            with at_work(self._threads):
                for _ in self._tree.several(runs, bar=bar):
                    pass
        self._tree.go_to(first)
        made = [self._taken(first + place) for place in range(takes)]
        return made[0] if takes == 1 else made

    def stream(self, *, bar: int | None = None, **how: Unpack[How]) -> Iterator[Event]:
        """The same for one take, told as it happens; the last event is `Done`.

        Leaving the loop stops the model there, and keeps what was made.
        """
        return self._events(self._tree.go_on(self._run(how, bar), bar=bar))

    def undo(self) -> bool:
        """Back to the take before; False at the prompt."""
        return self._tree.undo()

    def redo(self) -> bool:
        """Forth again to what was undone last; False where nothing was."""
        return self._tree.redo()

    def go_to(self, take: Take | int) -> None:
        """To any take of this session. Raises ValueError for a number that no take has."""
        self._tree.go_to(take.number if isinstance(take, Take) else take)

    def branch(self) -> Session:
        """The same tree once more, to be carried on in another way."""
        tree = self._tree
        return Session(trees.Session.of_takes(tree.takes, tree.current, tree.budget), self._model, self._threads)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Keep all takes and their states in a file, from which `Model.load` goes on; returns the path.

        Raises FileError for a file that exists, or OSError.
        """
        path = Path(path)
        refuse_overwriting([path], force=True)
        if path.exists() and not overwrite:
            raise FileError(f"{path} exists; overwrite=True overwrites it")
        save_session(self._tree, self._model, path)
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows: the current take."""
        return page(self.take)

    def _taken(self, number: int) -> Take:
        piece = self._tree.takes[number].piece
        with at_work(self._threads):
            making = making_of(piece, self._model)
        return Take(number, piece.work(), making, piece.ended, float(piece.bars), piece)

    def _run(self, how: How, bar: int | None) -> Run:
        """What is said, over how the current take was drawn."""
        said: dict[str, Any] = dict(how)
        check_names(said, HOW)
        if bar is not None and not 0 <= bar <= self.bars:
            raise ValueError(f"bar must be 0 to {self.bars}, the bar lines of take {self._tree.current}, not {bar!r}")
        options = usual_options(vars(self._tree.piece.sampler.options), said)
        run = usual_run(options, **{name: said[name] for name in OF_RUN if name in said})
        return run if said.get("seed") is not None else _next(run, self._tries(bar))

    def _tries(self, bar: int | None) -> int:
        """How many takes go on from this place already."""
        tree = self._tree
        after = tree.piece.length if bar is None else tree.bars()[bar]
        return sum(take.parent == tree.current and take.after == after for take in tree.takes)

    def _events(self, growing: Iterator[str]) -> Iterator[Event]:
        bars = self.bars
        while True:
            with at_work(self._threads):
                shown = next(growing, None)
            if shown is None:
                break
            yield Token(shown)
            if self.bars != bars:
                bars = self.bars
                yield Bar(bars)
        yield Done(self.take)


def _next(run: Run, number: int) -> Run:
    """The run with the seed that comes `number` after its own."""
    return replace(run, options=replace(run.options, seed=(run.options.seed + number) % (MAX_SEED + 1)))
