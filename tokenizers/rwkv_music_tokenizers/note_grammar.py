"""Notes that are valid by construction: which tokens may follow, so that a piece has one way to be said, and ends."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Limits
from rwkv_music_tokenizers.note_moment import Moment, Said
from rwkv_music_tokenizers.note_parts import MOST_PARTS
from rwkv_music_tokenizers.note_players import Players
from rwkv_music_tokenizers.note_vocabulary import (
    BAR,
    BOS,
    DRUMS,
    EOS,
    GRID,
    KEY,
    KIND,
    KINDS,
    LENGTH,
    LENGTH_UNITS,
    METER,
    NO_KEY,
    PART,
    PEDAL_DOWN,
    PEDAL_UP,
    PERF,
    PITCH,
    PROGRAM,
    QUARTER,
    SIZE,
    TEMPO,
    TIME,
    VELOCITY,
)

_TIMES = 192
_MOST_BARS = 8
# As played a bar is two seconds, four quarters at 120 a minute.
_PERFORMED_BAR, _PERFORMED_QUARTER = 200, 50
# After what an event may come in the group of a time.
_IN_GROUP = frozenset({Said.TIME, Said.GROUP_TEMPO, Said.PART, Said.EVENT})
_IN_BAR = frozenset({Said.BAR, Said.BAR_METER, Said.BAR_KEY})


class NoteGrammar:
    """A `Grammar` over notes: what follows `before`, a prompt, is what the encoder itself would write.

    In a group parts and pitches rise, a pitch that still sounds in its part is not struck again, nothing is said that
    does not change, no note is longer than eight bars. A bar's end shows in the token of the next: `at_bar` is after
    that, while nothing is in the new bar, and a piece cut there ends with the bar line. With `Ending.MAY` the piece
    ends where a bar may come and the last is not empty. Set to `Ending.MUST` at a bar line it ends there; amid a bar
    that bar is written to its end, whenever the model says so. As performed, bars are of two seconds, and `at_bar`
    is after the first time that completes them.

    Programs limit which parts may play and which may be added to the header. Pedals are written where the prompt has
    one, or `pedals` says that the model knows them.
    """

    def __init__(self, before: Iterable[int] = (), limits: Limits = NO_LIMITS, pedals: bool = False):
        """Raises ValueError for an id that is not in the vocabulary."""
        self.ending = Ending.MAY
        self._pedals = pedals
        self._moment = Moment()
        self._players = Players(limits)
        # How far the music was at the last bar as performed.
        self._barred_at = 0
        self._at_bar = False
        self._bars_before, self._begun_at = 0, 0
        for token in before:
            self.follow(token)
        moment = self._moment
        self._bars_before = moment.bars - (moment.said in _IN_BAR)
        self._begun_at = self._barred_at = moment.end
        self._at_bar = False

    def follow(self, token: int) -> None:
        """Take the next token, allowed or not. Raises ValueError for an id that is not in the vocabulary."""
        if not 0 <= token < SIZE:
            raise ValueError(f"an id of notes must be in range 0..{SIZE - 1}, not {token}")
        moment = self._moment
        moment.follow(token)
        said = moment.said
        if said is Said.EVENT:
            self._players.play(moment)
            self._pedals = self._pedals or token in (PEDAL_DOWN, PEDAL_UP)
        elif said is Said.PROGRAM and not moment.playing:
            self._players.declare(moment, next(reversed(moment.programs)))
        self._at_bar = self._completes_bar(token)

    def _completes_bar(self, token: int) -> bool:
        moment = self._moment
        if moment.barred:
            return token == BAR and moment.bars > 1
        if moment.said is Said.TIME and moment.now - self._barred_at >= _PERFORMED_BAR:
            self._barred_at = moment.now
            return True
        return False

    def clone(self) -> "NoteGrammar":
        """The same moment once more, to go another way."""
        twin = NoteGrammar.__new__(NoteGrammar)
        twin.__dict__.update(self.__dict__)
        twin._moment = self._moment.clone()
        twin._players = self._players.clone()
        return twin

    @property
    def ended(self) -> bool:
        """The end token was taken."""
        return self._moment.said is Said.EOS

    @property
    def bars(self) -> Fraction:
        """Bars that ended since the prompt; the prompt's last one is its own."""
        moment = self._moment
        if not moment.barred:
            return Fraction((moment.end - self._begun_at) // _PERFORMED_BAR)
        begun = moment.bars - self._bars_before
        open_bar = not self.ended or moment.time < 0
        return Fraction(max(begun - open_bar, 0))

    @property
    def at_bar(self) -> bool:
        """A bar has just ended and nothing is in the next."""
        return self._at_bar

    @property
    def quarters(self) -> Fraction:
        """Quarters from where the prompt had come to."""
        unit = QUARTER if self._moment.barred else _PERFORMED_QUARTER
        return Fraction(max(self._moment.end - self._begun_at, 0), unit)

    def allowed(self) -> np.ndarray:
        """(896,) bool: the tokens from which the piece can still be brought to a valid end. Not to be changed."""
        mask = np.zeros(SIZE, dtype=bool)
        moment = self._moment
        said = moment.said
        if said is Said.EOS:
            return mask
        if said is not Said.PROGRAM and not moment.playing:
            self._allow_header(mask)
            return mask
        if said is Said.PITCH:
            self._allow_length(mask)
        elif said is Said.VELOCITY:
            self._players.allow_pitches(mask, moment)
        else:
            self._allow_music(mask)
        if not mask.any():
            self._allow_way_out(mask)
        return mask

    def _allow_header(self, mask: np.ndarray) -> None:
        moment = self._moment
        if moment.said is Said.NOTHING:
            mask[BOS] = True
        elif moment.said is Said.BOS:
            mask[[GRID, PERF]] = True
        elif moment.said is Said.CLOCK:
            mask[KIND : KIND + len(KINDS)] = True
        elif moment.said is Said.KIND and moment.barred:
            mask[METER:TEMPO] = True
        elif moment.said is Said.METER:
            mask[KEY : NO_KEY + 1] = True
        elif moment.said is Said.KEY and moment.barred:
            mask[TEMPO:KEY] = True
        elif moment.said is Said.DECLARED:
            mask[PROGRAM : DRUMS + 1] = self._players.programs
        else:
            mask[PART] = True
            mask[KEY:NO_KEY] = moment.said is Said.KIND

    def _allow_length(self, mask: np.ndarray) -> None:
        moment = self._moment
        longest = _MOST_BARS * moment.bar_length if moment.barred else LENGTH_UNITS[-1]
        mask[LENGTH : LENGTH + len(LENGTH_UNITS)] = longest >= LENGTH_UNITS

    def _allow_music(self, mask: np.ndarray) -> None:
        """What may follow at the end of the header and in music, where no note is half said."""
        moment, must = self._moment, self.ending is Ending.MUST
        if must and any(moment.pedals):
            self._allow_release(mask)
            return
        at_line = moment.said in _IN_BAR or self._at_bar
        if self._may_end() and must and at_line:
            mask[EOS] = True
            return
        waiting = moment.said in (Said.TIME, Said.PART)
        if moment.said in _IN_GROUP:
            self._allow_group(mask)
        if moment.said is not Said.PART and (moment.barred or not must):
            self._allow_time(mask)
        if not must:
            mask[BAR] = moment.barred and bool(self._players.free) and not waiting
            self._allow_changes(mask)
        if self.ending is Ending.MAY:
            mask[EOS] = moment.said in (Said.EVENT, Said.GROUP_TEMPO) and self._may_end()
        elif must:
            mask[EOS] = not waiting and self._may_end()

    def _may_end(self) -> bool:
        """No pedal is down, and the last change of tempo is heard."""
        moment = self._moment
        return not any(moment.pedals) and moment.tempo_at < max(moment.silence, 1)

    def _allow_way_out(self, mask: np.ndarray) -> None:
        """A prompt may stop where these limits leave nothing to say: what it began is left alone."""
        if not self._players.free or self.ending is Ending.MUST:
            mask[EOS] = self.ending is not Ending.NEVER
        elif self._moment.barred:
            mask[BAR] = True
        else:
            mask[TIME + 1 : TIME + _TIMES] = True

    def _allow_changes(self, mask: np.ndarray) -> None:
        """At the end of the header, a part more; at a bar, a new meter and key, but the first has the header's."""
        moment = self._moment
        if moment.said is Said.PROGRAM:
            mask[PART + len(moment.programs)] = len(moment.programs) < MOST_PARTS
        if moment.said not in _IN_BAR or moment.bars < 2:
            return
        if moment.said is Said.BAR:
            mask[METER:TEMPO] = True
            mask[moment.meter] = False
        if moment.said is not Said.BAR_KEY:
            mask[KEY:NO_KEY] = True
            if moment.key >= 0:
                mask[moment.key] = False

    def _allow_time(self, mask: np.ndarray) -> None:
        """Later times of the bar, or of the performance, at which a part can play."""
        moment = self._moment
        if not self._players.free:
            return
        free = self._players.earliest
        if not moment.barred:
            if moment.said is not Said.TIME or moment.time == _TIMES - 1:
                first = max(int(moment.playing), free - max(moment.now, 0))
                mask[TIME + min(first, _TIMES - 1) : TIME + _TIMES] = True
        elif moment.said is not Said.TIME and moment.bars:
            first = max(moment.time + 1, free - moment.bar_start)
            mask[TIME + min(first, _TIMES) : TIME + max(first, moment.bar_length)] = first < moment.bar_length

    def _allow_group(self, mask: np.ndarray) -> None:
        """What may be played at this time."""
        moment = self._moment
        if moment.part in self._players.free:
            self._players.allow_pitches(mask, moment)
            playable = mask[PITCH:VELOCITY].any()
            if playable:
                mask[VELOCITY : VELOCITY + 16] = True
                mask[VELOCITY + moment.velocities[moment.part]] = False
            # A part that was named for its pedal alone has nothing else to do.
            named = moment.said is Said.PART and not playable
            if moment.group_pitch == -2 and self._pedal(moment.part, named):
                mask[PEDAL_UP if moment.pedals[moment.part] else PEDAL_DOWN] = True
        if moment.said is Said.PART:
            return
        for part, free in self._players.free.items():
            if part > moment.group_part and part != moment.part:
                mask[PART + part] = free <= moment.now or self._pedal(part)
        if moment.said is Said.TIME and moment.barred and moment.now > 0 and mask.any():
            mask[TEMPO:KEY] = True
            if moment.tempo >= 0:
                mask[moment.tempo] = False

    def _pedal(self, part: int, down: bool = False) -> bool:
        """Whether the pedal of a part may move; towards the end it only comes up, unless it may go `down` even then."""
        moment = self._moment
        down = down or self.ending is not Ending.MUST or moment.pedals[part]
        return self._pedals and down and not moment.drums(part)

    def _allow_release(self, mask: np.ndarray) -> None:
        """Only what brings the pedals up, each at a time of its own or with those of later parts."""
        moment = self._moment
        down = [part for part, pedal in enumerate(moment.pedals) if pedal]
        if moment.said in _IN_GROUP:
            fresh = moment.group_pitch == -2
            mask[PEDAL_UP] = fresh and moment.part in down
            if moment.said is Said.PART:
                if not mask[PEDAL_UP]:
                    self._allow_group(mask)
                return
            for part in down:
                mask[PART + part] = part > moment.group_part and part != moment.part
        if moment.said is Said.TIME:
            return
        if not moment.barred:
            mask[TIME + 1 : TIME + _TIMES] = True
        elif moment.bars and moment.time + 1 < moment.bar_length:
            mask[TIME + moment.time + 1 : TIME + moment.bar_length] = True
        else:
            mask[BAR] = True
