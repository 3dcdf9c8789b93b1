"""The spine: a prompt becomes ids, ids a state, the state the next id, until the tune has what was asked for."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction

import numpy as np
import torch

from rwkv_music.closing import close_tune
from rwkv_music.counting import BarCount
from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.making import Run
from rwkv_music.model.state import State
from rwkv_music.opening import Opening
from rwkv_music.sampling import Sampler, SamplingOptions
from rwkv_music.snapshots import Label, Snapshot, SnapshotError
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer

TOKENIZER = AbcTokenizer()
NEWLINE = ord("\n")
COLON = ord(":")
# Whatever is no text of a tune.
NEVER = [token for token in range(128) if token not in (TOKENIZER.eos, NEWLINE) and not chr(token).isprintable()]
# Signs that would change the note before them.
TO_NOTE_BEFORE = [ord(sign) for sign in "0123456789/',<>-"]
BAR, BRACKET = ord("|"), ord("]")


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
    # The model has ended the tune.
    ended: bool = False


class Piece:
    """A tune in the making. `grow` carries it on; everything else only looks at it."""

    def __init__(self, engine: Engine, opening: Opening, memory: Memory, prompt_length: int, sampler: Sampler):
        self.engine = engine
        self.opening = opening
        self.prompt_length = prompt_length
        self.sampler = sampler
        self.runs: tuple[Run, ...] = ()
        self.ended = memory.ended
        self._tokens = list(memory.tokens[:prompt_length])
        self._state = memory.state
        self._logits = memory.logits
        self._count = BarCount(TOKENIZER.decode(self._tokens))
        for token in memory.tokens[prompt_length:]:
            self._follow(token)
        self._bars_before = self.bars

    @classmethod
    def begin(cls, engine: Engine, opening: Opening, options: SamplingOptions) -> "Piece":
        """The piece that an opening begins. Raises UserError when the model is none of ABC."""
        speaks = engine.config.tokenizer if engine.config else TOKENIZER.name
        if engine.spec.vocabulary != TOKENIZER.vocabulary_size or speaks != TOKENIZER.name:
            raise UserError(
                f"this model has {engine.spec.vocabulary} tokens of '{speaks}', a model of ABC has "
                f"{TOKENIZER.vocabulary_size} of '{TOKENIZER.name}'; models of MIDI cannot be used yet"
            )
        tokens = (TOKENIZER.bos, *TOKENIZER.encode(opening.heard))
        logits, state = engine.advance(tokens)
        return cls(engine, opening, Memory(tokens, state, logits), len(tokens), Sampler(options))

    def branch(self) -> "Piece":
        """The same piece once more, to be carried on in another way."""
        twin = Piece(self.engine, self.opening, self.memory, self.prompt_length, self.sampler.clone())
        twin.runs = self.runs
        return twin

    @property
    def memory(self) -> Memory:
        return Memory(tuple(self._tokens), self._state, self._logits, self.ended)

    @property
    def length(self) -> int:
        """Tokens made so far."""
        return len(self._tokens) - self.prompt_length

    @property
    def bars(self) -> Fraction:
        """Bars of new music, those that `text` keeps."""
        return self._count.bars + (self._count.unfinished() if self._complete() else 0)

    @property
    def bars_of_run(self) -> Fraction:
        """Bars that came since the piece was begun, resumed or branched."""
        return self.bars - self._bars_before

    def grow(self, run: Run, stop: Callable[[], bool] = never) -> Iterator[str]:
        """Carry the tune on as `run` says, and yield every character as it comes.

        With `run.bars` it ends after so many bars and not before, so that two runs make what one for the bars of both
        would; without, where the model ends it, after one bar at least. `stop` is asked before every token. Raises
        SamplingError when the model's numbers overflow.
        """
        self.sampler = self.sampler.continued(run.options)
        # Parts of bars are left aside: one that the prompt began is no bar that was asked for.
        goal = None if run.bars is None else int(self.bars) + run.bars
        self.ended = self.ended and goal is None
        begun = self.length
        try:
            while not self.ended and not self._reached(goal) and self.length - begun < run.max_tokens and not stop():
                token = self.sampler.choose(
                    self._allowed(may_end=goal is None and self._reached(1) and not self._count.upbeat)
                )
                self.ended = token == TOKENIZER.eos
                if not self.ended:
                    self.sampler.follow(token)
                    self._logits, self._state = self.engine.advance([token], self._state)
                    self._follow(token)
                    yield chr(token)
        finally:
            finished = self.ended or self._reached(goal)
            self.runs = (*self.runs, run if finished else replace(run, max_tokens=self.length - begun))

    def snapshot(self, model: str) -> Snapshot:
        """The piece at this moment, of the model opened as `model`."""
        story = {
            **asdict(self.opening),
            "ended": self.ended,
            "runs": [run.plain() for run in self.runs],
        }
        label = Label(
            model, self.engine.hash, TOKENIZER.name, self.sampler.options, self.sampler.draws, self.prompt_length, story
        )
        return Snapshot(label, self._state, self._logits, tuple(self._tokens))

    @classmethod
    def resume(cls, engine: Engine, snapshot: Snapshot) -> "Piece":
        """The piece as it was when the snapshot was taken. Raises SnapshotError when its story cannot be used."""
        label = snapshot.label
        try:
            opening = Opening(**{field.name: label.story[field.name] for field in fields(Opening)})
            if not all(isinstance(value, str) for value in (opening.prompt, opening.written, opening.heard)):
                raise ValueError("the opening must be text")
            runs = tuple(Run.from_plain(run) for run in label.story["runs"])
        except (ValueError, KeyError, TypeError) as error:
            raise SnapshotError(f"the snapshot's story cannot be used: {error}") from None
        memory = Memory(snapshot.tokens, snapshot.state, snapshot.logits, label.story.get("ended") is True)
        sampler = Sampler(label.options, label.draws)
        for token in snapshot.tokens[label.prompt_length :]:
            sampler.follow(token)
        piece = cls(engine, opening, memory, label.prompt_length, sampler)
        piece.runs = runs
        return piece

    @property
    def written(self) -> str:
        """The tune so far: the prompt as it was written, and every character of new music."""
        prompt = self.opening.written
        made = TOKENIZER.decode(self._tokens[self.prompt_length :])
        # An empty line would end the tune.
        return prompt + (made.lstrip("\n") if prompt.endswith("\n") else made)

    def text(self) -> str:
        """The tune as ABC, properly closed."""
        return close_tune(self.written, len(self.opening.written), complete=self._complete())

    def _complete(self) -> bool:
        """The last bar may stay although no line ends it."""
        moment = self._count.moment()
        whole = not moment.inside and not moment.tuplet_left and not moment.broken
        return whole and self.length > 0 and (self.ended or moment.left == 0)

    def _reached(self, goal: int | None) -> bool:
        return goal is not None and self._count.bars >= goal

    def _follow(self, token: int) -> None:
        self._tokens.append(token)
        self._count.follow(chr(token))

    def _allowed(self, may_end: bool) -> np.ndarray:
        """The logits for the next token, -inf for what would spoil the text."""
        logits = self._logits.numpy(force=True).copy()
        logits[NEVER] = -np.inf
        if not may_end:
            logits[TOKENIZER.eos] = -np.inf
            if self._tokens[-1] == BAR:
                # "|]" ends a tune.
                logits[BRACKET] = -np.inf
        if self._tokens[-1] == NEWLINE:
            # An empty line would end the tune, and a repeat sign begins with a bar line.
            logits[[NEWLINE, COLON]] = -np.inf
        if self._count.line_again:
            # "|:" may follow another line, the end of a section that holds nothing may not.
            logits[[BAR, BRACKET]] = -np.inf
        if self.opening.inside and not TOKENIZER.decode(self._tokens[self.prompt_length :][:8]).strip():
            logits[TO_NOTE_BEFORE] = -np.inf
        return logits
