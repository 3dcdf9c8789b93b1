"""The spine: a prompt becomes ids, ids a state, the state the next id, until the piece has what was asked for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from rwkv_music.engine import Engine
from rwkv_music.goal import Goal
from rwkv_music.making import Run
from rwkv_music.manuscripts.choose import check_language, manuscript_of
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.model.state import State
from rwkv_music.moments import Moment, Moments
from rwkv_music.sampling import Sampler, SamplingError, SamplingOptions
from rwkv_music.snapshots import Label, Snapshot, SnapshotError
from rwkv_music.works import Work
from rwkv_music_tokenizers.grammar import NO_LIMITS, Grammar

# Dead ends after which a run gives up, should a grammar ever lead into one.
MOST_DEAD_ENDS = 16


def never() -> bool:
    """Nobody asks to stop."""
    return False


@dataclass(frozen=True)
class Memory:
    """All that decides how a piece goes on: tokens from the beginning, and what the model makes of them."""

    tokens: tuple[int, ...]
    # After the last token: the model's state, and logits (V,) float32 for the next.
    state: State
    logits: torch.Tensor
    # The model has ended the piece.
    ended: bool = False


class Piece:
    """A piece in the making. `grow` carries it on; everything else only looks at it."""

    def __init__(
        self,
        engine: Engine,
        manuscript: Manuscript,
        memory: Memory,
        prompt_length: int,
        sampler: Sampler,
        stretches: Sequence[tuple[int, Run]] = (),
    ):
        self.engine = engine
        self.manuscript = manuscript
        self.prompt_length = prompt_length
        self.sampler = sampler
        # What it was begun with.
        self.first = sampler.options
        self.ended = memory.ended
        self.moments = Moments()
        # Each run so far, and how many tokens were made before it.
        self.stretches = list(stretches)
        self._tokens = list(memory.tokens)
        self._state = memory.state
        self._logits = memory.logits
        self._bars_before = self.bars
        self._grammar: Grammar = manuscript.grammar(True, NO_LIMITS)
        self._goal = Goal()
        self._dead_ends = 0

    @classmethod
    def begin(cls, engine: Engine, manuscript: Manuscript, options: SamplingOptions) -> "Piece":
        """The piece that a manuscript begins. Raises UserError when the model speaks another language."""
        check_language(engine, manuscript.language)
        tokens = manuscript.heard()
        logits, state = engine.advance(tokens)
        return cls(
            engine, manuscript, Memory(tokens, state, logits), len(tokens), Sampler(options, weights=manuscript.weights)
        )

    def branch(self) -> "Piece":
        """The same piece once more, to be carried on in another way."""
        twin = Piece(
            self.engine, self.manuscript, self.memory, self.prompt_length, self.sampler.clone(), self.stretches
        )
        twin.first, twin.moments = self.first, self.moments.clone()
        return twin

    def back_to(self, length: int) -> "Piece":
        """The piece as it was when it had so many new tokens; with a run cut there, if there is one.

        Raises ValueError for a length it never had.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"the piece had 0 to {self.length} new tokens, not {length}")
        if length == self.length:
            return self.branch()
        place, stretches = self.prompt_length + length, self._until(length)
        memory = Memory(tuple(self._tokens[:place]), *self._remembered(place))
        sampler = self._sampler_after(stretches, length)
        earlier = Piece(self.engine, self.manuscript, memory, self.prompt_length, sampler, stretches)
        earlier.first, earlier.moments = self.first, self.moments.clone()
        earlier.moments.forget_from(place + 1)
        return earlier

    @property
    def memory(self) -> Memory:
        return Memory(tuple(self._tokens), self._state, self._logits, self.ended)

    def snapshot(self, model: str) -> Snapshot:
        """The piece at this moment, of the model opened as `model`."""
        story = {
            **self.manuscript.plain(),
            "ended": self.ended,
            "runs": [{**run.plain(), "after": at} for at, run in self.stretches],
        }
        sampler = self.sampler
        label = Label(
            *(model, self.engine.hash, self.manuscript.language, sampler.options, sampler.draws, self.prompt_length),
            story,
        )
        return Snapshot(label, self._state, self._logits, tuple(self._tokens))

    @classmethod
    def resume(cls, engine: Engine, snapshot: Snapshot) -> "Piece":
        """The piece as it was when the snapshot was taken. Raises SnapshotError when its story cannot be used."""
        label = snapshot.label
        try:
            manuscript = manuscript_of(label.tokenizer, label.story)
            stretches = [(_whole(plain["after"]), Run.from_plain(plain)) for plain in label.story["runs"]]
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError(f"the snapshot's story cannot be used: {error}") from None
        check_language(engine, manuscript.language)
        memory = Memory(snapshot.tokens, snapshot.state, snapshot.logits, label.story.get("ended") is True)
        piece = cls(engine, manuscript, memory, label.prompt_length, Sampler(label.options), stretches)
        piece.sampler = piece._counted(Sampler(label.options, label.draws, manuscript.weights), piece.length)
        return piece

    @property
    def made(self) -> Sequence[int]:
        """Tokens made so far."""
        return self._tokens[self.prompt_length :]

    @property
    def length(self) -> int:
        """How many tokens were made so far."""
        return len(self._tokens) - self.prompt_length

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that made the piece; the same runs make it again."""
        return tuple(run for _, run in self.stretches)

    @property
    def bars(self) -> Fraction:
        """Bars of new music, those that `work` keeps."""
        return self.manuscript.bars(self.made, self.ended)

    @property
    def bars_of_run(self) -> Fraction:
        """Bars that came since the piece was begun, resumed or branched."""
        return self.bars - self._bars_before

    @property
    def shown(self) -> str:
        """The piece so far as a person sees it."""
        return self.manuscript.beginning + "".join(map(self.manuscript.shown, self.made))

    def work(self) -> Work:
        """The piece so far, properly closed."""
        return self.manuscript.work(self.made, self.ended)

    def grow(self, run: Run, stop: Callable[[], bool] = never) -> Iterator[str]:
        """Carry the piece on as `run` says, and yield every token as a person sees it come.

        With `run.bars` or `run.seconds` it goes on so far and not shorter, so that two runs make what one for both
        would; without, to where the model ends it. `stop` is asked before every token. Raises SamplingError when the
        model's numbers overflow.
        """
        self.start(run)
        try:
            while not stop() and (token := self.choose()) is not None:
                logits, state = self.engine.advance([token], self._state)
                self.take(token, logits, state)
                yield self.manuscript.shown(token)
        finally:
            self.finish()

    def start(self, run: Run) -> None:
        """Begin a run; `choose` and `take` then make its tokens, one after the other, and `finish` ends it."""
        self.sampler = self.sampler.continued(run.options)
        self._follow_again(run)
        self._keep_moment()
        self.stretches.append((self.length, run))
        self._goal = Goal.of(run, self._grammar, lambda: self.manuscript.tempo, self.length)
        self.ended = self.ended and not self._goal.further
        self._dead_ends = 0

    def choose(self) -> int | None:
        """The next token, to be read by the model and given to `take`; None when the run is over."""
        while not self.ended and not self._goal.is_reached(self._grammar, self.length):
            self._grammar.ending = self._goal.ending(self._grammar, self.length)
            allowed = self._grammar.allowed()
            if not allowed.any():
                self._turn_back()
                continue
            token = self.sampler.choose(np.where(allowed, self._logits.numpy(force=True), -np.inf))
            if token not in self.manuscript.ends:
                return token
            self.ended = True
        return None

    def take(self, token: int, logits: torch.Tensor, state: State) -> None:
        """The model has read a token: logits (V,) for the next, and the state of one piece after it."""
        self._tokens.append(token)
        self._logits, self._state = logits, state
        self.sampler.follow(token)
        # What is written after a bar line before the next bar begins, as the end of a line, is no other bar line.
        bars_at_line = self._grammar.bars if self._grammar.at_bar else -1
        self._grammar.follow(token)
        if self._grammar.at_bar and self._grammar.bars > bars_at_line:
            self._keep_moment()

    def finish(self) -> None:
        """End a run where it is."""
        at, run = self.stretches[-1]
        if not self.ended and not self._goal.is_reached(self._grammar, self.length):
            self.stretches[-1] = (at, replace(run, cut=self.length - at))

    def _follow_again(self, run: Run) -> None:
        self._grammar = self.manuscript.grammar(run.free, run.limits)
        for token in self.made:
            self._grammar.follow(token)

    def _keep_moment(self) -> None:
        sampler = self.sampler
        self.moments.add(Moment(len(self._tokens), sampler.options, sampler.draws, self._state, self._logits))

    def _turn_back(self) -> None:
        """Out of a dead end: on from the last bar, with numbers of the generator that come next."""
        self._dead_ends += 1
        at, run = self.stretches[-1]
        moment = self.moments.state_until(len(self._tokens) - 1)
        if moment is None or moment.length < self.prompt_length + at or self._dead_ends > MOST_DEAD_ENDS:
            raise SamplingError("nothing may follow here, nor another way after the bar before: try another seed")
        assert moment.state is not None and moment.logits is not None
        del self._tokens[moment.length :]
        self._state, self._logits = moment.state, moment.logits
        self.sampler = self._counted(Sampler(run.options, self.sampler.draws, self.manuscript.weights), self.length)
        self._follow_again(run)
        self._keep_moment()

    def _remembered(self, place: int) -> tuple[State, torch.Tensor]:
        """State and logits after `place` tokens."""
        near = self.moments.state_until(place)
        if near is None or near.state is None or near.logits is None:
            logits, state = self.engine.advance(self._tokens[:place])
            return state, logits
        if near.length == place:
            return near.state, near.logits
        logits, state = self.engine.advance(self._tokens[near.length : place], near.state)
        return state, logits

    def _sampler_after(self, stretches: Sequence[tuple[int, Run]], length: int) -> Sampler:
        """The sampler as it was when the last of the stretches had come to so many new tokens."""
        sampler = Sampler(self.first, weights=self.manuscript.weights)
        if not stretches:
            return sampler
        begun = self.prompt_length + stretches[-1][0]
        place = self.prompt_length + length
        # A moment at the place itself may be that of the run which came next.
        near = self.moments.until(place - 1)
        assert near is not None and near.length >= begun, "every run begins with a moment"
        return self._counted(Sampler(near.options, near.draws + place - near.length, self.manuscript.weights), length)

    def _counted(self, sampler: Sampler, length: int) -> Sampler:
        """A sampler that knows of the first `length` new tokens."""
        for token in self._tokens[self.prompt_length : self.prompt_length + length]:
            sampler.follow(token)
        return sampler

    def _until(self, length: int) -> list[tuple[int, Run]]:
        """The stretches of so many new tokens, the last one cut there."""
        kept = [(at, run) for at, run in self.stretches if at < length]
        return [*kept[:-1], *((at, replace(run, cut=length - at)) for at, run in kept[-1:])]


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"tokens before a run are a whole number, not {value!r}")
    return value
