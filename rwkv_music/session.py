"""A session: a prompt, and the tree of takes that grew from it, in which nothing is ever lost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rwkv_music.compose import Piece, never
from rwkv_music.engine import Engine
from rwkv_music.making import Run
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.sampling import SamplingOptions
from rwkv_music.takes import grow_together

# Bytes of the states that all takes keep at their bar lines.
BUDGET = 256 << 20


@dataclass(frozen=True, eq=False)
class Take:
    """One way in which the piece went on. Its piece is not grown any further; what goes on from it is another take."""

    number: int
    # The take that it goes on from, and after how many of its new tokens; None for the prompt.
    parent: int | None
    after: int
    piece: Piece


class Session:
    """Takes by number, the prompt being take 0, and where in the tree one is.

    What goes on does so with the same generator, penalties and counts as if it had never stopped: going on from a take
    gives what one run along its path would have given.
    """

    def __init__(self, engine: Engine, manuscript: Manuscript, options: SamplingOptions, budget: int = BUDGET):
        """The model hears the manuscript. Raises UserError when it speaks another language."""
        self.engine = engine
        self.manuscript = manuscript
        self.budget = budget
        self.takes: list[Take] = [Take(0, None, 0, Piece.begin(engine, manuscript, options))]
        self.current = 0
        self._undone: list[int] = []

    @classmethod
    def of_takes(cls, takes: Sequence[Take], current: int, budget: int = BUDGET) -> "Session":
        """The session of takes in the order of their numbers."""
        session = cls.__new__(cls)
        session.engine, session.manuscript = takes[0].piece.engine, takes[0].piece.manuscript
        session.budget, session.takes, session.current, session._undone = budget, list(takes), current, []
        return session

    @property
    def take(self) -> Take:
        """The take one is at."""
        return self.takes[self.current]

    @property
    def piece(self) -> Piece:
        """The piece so far."""
        return self.take.piece

    def go_on(self, *runs: Run, bar: int | None = None, stop: Callable[[], bool] = never) -> Iterator[str]:
        """A new take that goes on from the current one by `runs`, and is then the current one.

        bar: goes on from behind the bar of that number (see `bars`) instead of from the end. Yields every token as a
        person sees it come. What was made is kept, also when nobody wants any more of it.
        """
        for _, shown in self.several([runs], bar=bar, stop=stop):
            yield shown

    def several(
        self, runs: Sequence[Sequence[Run]], bar: int | None = None, stop: Callable[[], bool] = never
    ) -> Iterator[tuple[int, str]]:
        """New takes that go on from the current one, all in one batch; the first is then the current one.

        Yields (number of the take, token as a person sees it come).
        """
        takes = self.begin(len(runs), bar)
        try:
            for place, shown in grow_together([take.piece for take in takes], runs, stop):
                yield takes[0].number + place, shown
        finally:
            self.keep_budget()

    def begin(self, count: int, bar: int | None = None) -> list[Take]:
        """New takes that go on from the current one, whose pieces are yet to grow; the first is then the current one."""
        after = self.piece.length if bar is None else self.bars()[bar]
        pieces = [self.piece.back_to(after) for _ in range(count)]
        first, parent = len(self.takes), self.current
        takes = [Take(first + place, parent, after, piece) for place, piece in enumerate(pieces)]
        self.takes += takes
        self.current, self._undone = first, []
        return takes

    def bars(self, number: int | None = None) -> list[int]:
        """New tokens of a take's piece at each bar line from which one can go on; the first is the prompt's end.

        number: of the take, which is there; None: the current one.
        """
        piece = self.piece if number is None else self.takes[number].piece
        lengths = [moment.length - piece.prompt_length for moment in piece.moments]
        return lengths or [0]

    def undo(self) -> bool:
        """Back to the take before; False at the prompt."""
        parent = self.take.parent
        if parent is None:
            return False
        self._undone.append(self.current)
        self.current = parent
        return True

    def redo(self) -> bool:
        """Forth again to what was undone last; False where nothing was."""
        if not self._undone:
            return False
        self.current = self._undone.pop()
        return True

    @property
    def can_redo(self) -> bool:
        """Something was undone, and nothing made since."""
        return bool(self._undone)

    def go_to(self, number: int) -> None:
        """To any take. Raises ValueError for a number that no take has."""
        if not 0 <= number < len(self.takes):
            raise ValueError(f"there are takes 0 to {len(self.takes) - 1}, not {number}")
        self.current, self._undone = number, []

    def path(self, number: int | None = None) -> list[int]:
        """The takes from the prompt to one."""
        steps, at = [], self.current if number is None else number
        while at is not None:
            steps.append(at)
            at = self.takes[at].parent
        return steps[::-1]

    def children(self, number: int) -> list[int]:
        """The takes that go on from one."""
        return [take.number for take in self.takes if take.parent == number]

    def keep_budget(self) -> None:
        """The oldest takes let go of states at their bar lines, those on the way to the current one last."""
        kept = {id(moment.state): moment.bytes for take in self.takes for moment in take.piece.moments}
        near = set(self.path())
        for take in sorted(self.takes, key=lambda take: (take.number in near, take.number)):
            if sum(kept.values()) <= self.budget:
                break
            take.piece.moments.shed()
            kept = {id(moment.state): moment.bytes for take in self.takes for moment in take.piece.moments}


def with_seeds(runs: Sequence[Run], count: int) -> list[tuple[Run, ...]]:
    """The same runs for `count` takes, each with the next seed."""
    return [
        tuple(replace(run, options=replace(run.options, seed=run.options.seed + take)) for run in runs)
        for take in range(count)
    ]
