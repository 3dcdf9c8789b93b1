"""One person's session: its takes, which of them are kept and shared, and what was asked for under a key."""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rwkv_music.judging import surprise
from rwkv_music.session import Session, Take

# What a token of a take takes, all told.
TOKEN = 64
LONGEST_TITLE = 80
# Wishes with a key that one session remembers.
MOST_ASKED = 64


@dataclass
class Asked:
    """A wish that came with a key: which one, the takes that were begun for it, and whether they are whole."""

    fingerprint: str
    first: int
    count: int
    whole: bool = False


@dataclass(eq=False)
class Sitting:
    """A session of one person. `lock` is held by whoever changes its tree."""

    name: str
    # The hash of whose it is.
    owner: str
    model: str
    session: Session
    kept: set[int] = field(default_factory=set)
    begun: float = field(default_factory=time.time)
    touched: float = field(default_factory=time.time)
    lock: threading.RLock = field(default_factory=threading.RLock)
    # Takes that grow at this moment.
    growing: set[int] = field(default_factory=set)
    # It was let go of, and is not written any more.
    gone: bool = False
    # The link to each take that is shared.
    shared: dict[int, str] = field(default_factory=dict)
    # By the hash of the key that a wish came with; the newest stands last.
    asked: dict[str, Asked] = field(default_factory=dict)
    # The fingerprint of how it begins, where a key came with that.
    begun_with: str = ""
    # Bits of each take's tokens but the first, of the prompt on; of those that were read or made here.
    _bits: dict[int, np.ndarray] = field(default_factory=dict)
    # Bars of each take by its length.
    _bars: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """What its states take, those of its bar lines and those at the ends of its takes, and its tokens."""
        pieces = [take.piece for take in list(self.session.takes)]
        states = {id(moment.state): moment.bytes for piece in pieces for moment in list(piece.moments)}
        return sum(states.values()) + sum(self._state_bytes + TOKEN * piece.length for piece in pieces)

    @cached_property
    def _state_bytes(self) -> int:
        """What one state takes; all of them are as large."""
        memory = self.session.takes[0].piece.memory
        return sum(x.nbytes for x in (*memory.state.tensors().values(), memory.logits))

    @property
    def title(self) -> str:
        """What its piece is called."""
        found = re.search(r"^T:(.*)$", self.session.manuscript.beginning, re.MULTILINE)
        title = found[1].strip() if found else str(self.session.manuscript.plain().get("title", ""))
        return title[:LONGEST_TITLE] or "Untitled"

    @property
    def wanted(self) -> set[int]:
        """Takes that somebody has a use for as they are."""
        return self.kept | self.shared.keys()

    def bars(self, take: Take) -> float:
        """Bars that a take has added to what it went on from, as musicians count them."""
        piece, length = take.piece, take.piece.length
        if (take.number, length) not in self._bars:
            count, made = piece.manuscript.bars, piece.made
            added = count(made[:length], piece.ended) - count(made[: take.after], False)
            self._bars[take.number, length] = float(max(added, 0))
        return self._bars[take.number, length]

    def surprised(self, number: int) -> np.ndarray:
        """Bits (n - 1,) of a take's tokens (n,), each given those before it."""
        if number not in self._bits:
            tokens = self.session.takes[number].piece.memory.tokens
            self._bits[number] = surprise(self.session.engine, tokens)
        return self._bits[number]

    def surprised_so_far(self, take: Take, bits: Sequence[float]) -> np.ndarray:
        """The same of a take that grows, whose new tokens surprised by so many bits."""
        assert take.parent is not None, "the prompt does not grow"
        before = self.surprised(take.parent)[: take.piece.prompt_length - 1 + take.after]
        return np.concatenate([before, np.array(bits)])

    def note_surprise(self, take: Take, bits: Sequence[float]) -> None:
        """A take has grown. Where nobody has asked yet what it went on from surprised by, nobody is answered either."""
        if take.parent in self._bits:
            self._bits[take.number] = self.surprised_so_far(take, bits)

    def drop(self, first: int) -> None:
        """Let go of the takes from a number on, which nothing grew from; one is then where they went on from."""
        session = self.session
        parent = session.takes[first].parent or 0
        for take in session.takes[first:]:
            self._bits.pop(take.number, None)
            self.kept.discard(take.number)
        self._bars = {key: bars for key, bars in self._bars.items() if key[0] < first}
        del session.takes[first:]
        session.go_to(parent)

    def note_asked(self, key: str, asked: Asked) -> None:
        """Remember a wish, and forget the oldest of too many."""
        self.asked.pop(key, None)
        self.asked[key] = asked
        for old in list(self.asked)[:-MOST_ASKED]:
            del self.asked[old]

    def plain(self) -> dict[str, Any]:
        """What stands in the file beside its session."""
        return {
            "model": self.model,
            "title": self.title,
            "kept": sorted(self.kept),
            "begun": self.begun,
            "touched": self.touched,
            "takes": len(self.session.takes) - 1,
            "shared": [[take, token] for take, token in self.shared.items()],
            "asked": {key: vars(asked) for key, asked in self.asked.items()},
            "begun_with": self.begun_with,
        }


def asked_in(told: dict[str, Any]) -> dict[str, Asked]:
    """The wishes that stand beside a session; none where they cannot be read."""
    try:
        return {str(key): Asked(**asked) for key, asked in told.get("asked", {}).items()}
    except (AttributeError, TypeError):
        return {}


def shared_in(told: dict[str, Any], takes: int) -> dict[int, str]:
    """The links to its takes, in the same place."""
    try:
        return {int(take): str(token) for take, token in told.get("shared", []) if 0 <= int(take) < takes}
    except (ValueError, TypeError):
        return {}
