"""ABC that is valid by construction: which characters may follow, so that bars add up and all that opens is closed."""

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np

from rwkv_music_tokenizers.abc_closing import closing
from rwkv_music_tokenizers.abc_lexer import Lexer
from rwkv_music_tokenizers.abc_marks import ALTERS, read_note
from rwkv_music_tokenizers.abc_next_header import grow_head
from rwkv_music_tokenizers.abc_next_lengths import sounding
from rwkv_music_tokenizers.abc_next_lines import FIELD
from rwkv_music_tokenizers.abc_next_music import EOS, grown, plain, settled
from rwkv_music_tokenizers.abc_next_notes import SIGNS
from rwkv_music_tokenizers.abc_prompt import Reading
from rwkv_music_tokenizers.abc_spot import SOME_NOTE, Ended, Head, Place, Sign, Spot
from rwkv_music_tokenizers.abc_tally import Tally
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Limits
from rwkv_music_tokenizers.keys import STEPS

TOKENIZER = AbcTokenizer()
# Spots kept ready; a tune visits a few hundred, and the tunes of one meter and unit share most.
MOST_SPOTS = 16_384
# A note before a tie, with what may stand in between, is no longer than this.
LONGEST_NOTE = 40
NOTE_BEFORE = re.compile(r"(?:\^{1,2}|_{1,2}|=)?[A-Ga-g][,']*")


class _Node:
    """A spot and what may follow it; masks and the spots that follow are made when first asked for."""

    def __init__(self, place: Place, limits: Limits, begun: Mapping[str, Place], after: Spot | None):
        self.place = place
        self.settled = after
        self.begun = begun
        self.grown: Mapping[str, Place] = {}
        if isinstance(place, Head):
            self.grown = grow_head(place, limits)
        elif isinstance(place, Spot):
            self.grown = grown(place, limits)
        self.options: dict[str, Place] = {**begun, **self.grown}
        self.masks: dict[Ending, np.ndarray] = {}
        self.next: dict[int, _Node] = {}

    @cached_property
    def sounding(self) -> Fraction:
        """Quarters by which the word being written makes the bar longer."""
        return sounding(self.place) if isinstance(self.place, Spot) else Fraction(0)

    def mask(self, ending: Ending) -> np.ndarray:
        signs = set(self.options)
        if ending is Ending.MUST:
            signs = closing(self.place, self.grown, self.begun, self.settled)
        elif ending is Ending.NEVER:
            last = isinstance(self.place, Spot) and self.place.mode == "bar"
            signs -= {EOS, "]"} if last else {EOS}
        mask = np.zeros(TOKENIZER.vocabulary_size, bool)
        mask[list("".join(signs).encode("ascii"))] = True
        mask.flags.writeable = False
        self.masks[ending] = mask
        return mask


class _Spots:
    """The nodes of all spots that were visited under the same limits."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self._nodes: dict[Place, _Node] = {}
        self._plain: dict[Spot, dict[str, Place]] = {}

    def node(self, place: Place) -> _Node:
        found = self._nodes.get(place)
        if found is None:
            if len(self._nodes) >= MOST_SPOTS:
                self._nodes.clear()
                self._plain.clear()
            after = settled(place, self.limits) if isinstance(place, Spot) else None
            begun = self._begun(after) if after is not None else {}
            found = self._nodes[place] = _Node(place, self.limits, begun, after)
        return found

    def _begun(self, spot: Spot) -> dict[str, Place]:
        found = self._plain.get(spot)
        if found is None:
            found = self._plain[spot] = plain(spot, self.limits)
        return found


def _last_note(text: str) -> Sign:
    """The note that a tie at the end of `text` holds."""
    *_before, note = NOTE_BEFORE.finditer(text, max(0, len(text) - LONGEST_NOTE))
    alter, step, octave, _length = read_note(note[0])
    return 7 * octave + STEPS.index(step), next((sign for sign in SIGNS if ALTERS[sign] == alter), "")


@lru_cache(maxsize=8)
def _spots(limits: Limits) -> _Spots:
    return _Spots(limits)


class AbcGrammar:
    """Follows a tune character by character, from its header on, in the form that models write.

    `before` is a prompt; a note at its end is complete. It may break the rules: the bar it began is completed, or
    ended where it is too long already. Set to Ending.MUST while a bar is being written, the piece ends with that bar,
    with one bar more where a repeat, a tie or a second ending asks for it; set at a bar line, with that line where it
    can.
    """

    def __init__(self, before: str = "", limits: Limits = NO_LIMITS):
        self.ending = Ending.MAY
        self._spots = _spots(limits)
        self._node = self._spots.node(Head())
        self._tally = Tally()
        self._text = ""
        # The characters of `_text` that belong to the prompt.
        self._begun = 0
        # What was written could not be followed and has to be read as a whole.
        self._astray = False
        for sign in before:
            self._take(ord(sign))
        self._find()
        after = self._node.settled
        if isinstance(self._node.place, Spot) and after is not None and self._node.place.mode != "bar":
            self._tally.sound(self._node.sounding)
            rested = after.but(room=after.room.but(last=0), fresh=False, tones=())
            self._node = self._spots.node(rested)
        self._begun = len(before)
        self._tally.begin()

    def clone(self) -> "AbcGrammar":
        """The same moment once more, to go another way."""
        twin = AbcGrammar.__new__(AbcGrammar)
        twin.__dict__.update(self.__dict__)
        twin._tally = self._tally.clone()
        return twin

    def allowed(self) -> np.ndarray:
        """(128,) bool: the characters from which the tune can still be brought to a valid end. Not to be changed."""
        self._find()
        mask = self._node.masks.get(self.ending)
        return self._node.mask(self.ending) if mask is None else mask

    def follow(self, token: int) -> None:
        """Take the next character, allowed or not."""
        if not 0 <= token < TOKENIZER.vocabulary_size:
            raise ValueError(f"an id of ABC text must be in range 0..{TOKENIZER.vocabulary_size - 1}, not {token}")
        self._take(token)

    @property
    def ended(self) -> bool:
        """The end token was taken."""
        return isinstance(self._node.place, Ended)

    @property
    def bars(self) -> Fraction:
        """Bars made since the grammar began to follow, as musicians count them: upbeats for nothing."""
        self._find()
        return self._tally.bars

    @property
    def quarters(self) -> Fraction:
        """Quarters of music made since the grammar began to follow."""
        self._find()
        return self._tally.quarters + self._node.sounding

    @property
    def at_bar(self) -> bool:
        """A bar has just ended and none begun: the place for a snapshot, and for a cut."""
        self._find()
        place, after = self._node.place, self._node.settled
        if isinstance(place, Spot) and place.mode == "bar":
            return place.text != ":"
        return isinstance(after, Spot) and after.line not in ("", "start", FIELD) and not after.sounds

    def _take(self, token: int) -> None:
        if token == TOKENIZER.eos:
            self._node = self._spots.node(Ended())
            self._astray = False
        elif token > TOKENIZER.eos:
            self._text += chr(token)
            if not self._astray:
                self._astray = not self._step(token)

    def _step(self, token: int) -> bool:
        """Go on to the next spot; False where the character may not follow."""
        node, sign = self._node, chr(token)
        following = node.next.get(token)
        if following is None:
            place = node.options.get(sign)
            if place is None:
                return False
            if isinstance(place, Spot) and place.tied == SOME_NOTE:
                following = self._spots.node(place.but(tied=(_last_note(self._text),)))
            else:
                following = node.next[token] = self._spots.node(place)
        if sign not in node.grown and node.sounding:
            self._sound(node)
        self._node = following
        if isinstance(following.place, Spot) and following.place.mode == "bar":
            self._tally.sign(following.place.text, following.place.room.meter, following.place.sounds)
        return True

    def _sound(self, node: _Node) -> None:
        self._tally.sound(node.sounding)
        place = node.place
        if isinstance(place, Spot) and place.mode == "whole" and place.text:
            self._tally.rest_bars(int(place.text) - 1)

    def _find(self) -> None:
        """Where a text stands that broke the rules."""
        if not self._astray:
            return
        self._astray = False
        lexer, reading = Lexer(), Reading(self._spots.limits)
        tokens = lexer.feed(self._text)
        old = [token for token in tokens if token.start < self._begun]
        for token in old:
            reading.take(token)
        reading.tally.begin()
        for token in tokens[len(old) :]:
            reading.take(token)
        self._node, self._tally = self._spots.node(reading.place), reading.tally.clone()
        if not all(self._step(ord(sign)) for sign in lexer.pending):
            for token in lexer.finish():
                reading.take(token)
            self._node, self._tally = self._spots.node(reading.place), reading.tally
