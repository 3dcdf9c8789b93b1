"""Music as exact data: a score of parts, bars and events, timed in fractions of a quarter note.

All lengths are `fractions.Fraction` quarters (a quarter note is 1, an eighth 1/2). Everything is frozen; to change a
score, build another one (`dataclasses.replace`). No I/O, no text formats here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from rwkv_music_tokenizers.errors import NotationWarning, Place
from rwkv_music_tokenizers.keys import Key, Pitch


@dataclass(frozen=True)
class Meter:
    """A time signature. `text` is how it is shown ("6/8", "C|", "2+2+3/8", "none")."""

    text: str
    # Quarters a full bar holds; None for free meter.
    bar: Fraction | None
    # Quarters of one beat as it is counted and conducted (6/8: 3/2, 4/4: 1).
    beat: Fraction = Fraction(1)


@dataclass(frozen=True)
class Tempo:
    """`bpm` beats a minute, a beat being `beat` quarters; `text` is a word such as "Allegro"."""

    bpm: Fraction | None = None
    beat: Fraction = Fraction(1)
    text: str = ""


@dataclass(frozen=True)
class Tone:
    """One sounding pitch of an event; `tied` holds it into the next event of the same pitch."""

    pitch: Pitch
    tied: bool = False


@dataclass(frozen=True)
class Tuplet:
    """`actual` notes in the time of `normal`, over `count` events; this event is number `index` (from 0)."""

    actual: int
    normal: int
    count: int
    index: int


@dataclass(frozen=True)
class Grace:
    """A grace note or grace chord. `length` is its written length in quarters; it takes no time of its own."""

    tones: tuple[Tone, ...]
    length: Fraction


@dataclass(frozen=True)
class Annotation:
    """Free text at an event. `placement` is one of "^" above, "_" below, "<" left, ">" right, "@" free."""

    placement: str
    text: str


@dataclass(frozen=True)
class Syllable:
    """A sung syllable: `joined` when a hyphen leads to the next, `held` when it only prolongs the one before."""

    text: str
    joined: bool = False
    held: bool = False


@dataclass(frozen=True)
class Event:
    """A note (one tone), chord (several) or rest (none) that takes `length` quarters (sounding, tuplets applied)."""

    length: Fraction
    tones: tuple[Tone, ...] = ()
    # Rests only: takes time but is not shown (ABC x and X).
    hidden: bool = False
    # Rests only: fills the bar whatever its meter (ABC Z and X).
    whole_bar: bool = False
    # Joined by a beam to the event before it (no space between them in the source).
    beamed: bool = False
    tuplet: Tuplet | None = None
    grace: tuple[Grace, ...] = ()
    # The grace notes are slashed (acciaccatura, ABC {/...}).
    slashed: bool = False
    # Names, in the order given: "staccato", "roll", "trill", "fermata", "upbow", ...
    decorations: tuple[str, ...] = ()
    # A chord symbol such as "G7" or "Am/C"; empty for none.
    chord: str = ""
    annotations: tuple[Annotation, ...] = ()
    # One entry a verse; None where that verse has no syllable here.
    lyrics: tuple[Syllable | None, ...] = ()
    slurs_open: int = 0
    slurs_close: int = 0

    @property
    def is_rest(self) -> bool:
        return not self.tones


@dataclass(frozen=True)
class Remark:
    """A field that stands in the music without changing it: P: (part label), N:, I:, r:, or text after "%%"."""

    letter: str
    text: str


# What a bar holds besides events: from that point on the key, meter or tempo changes.
Change: TypeAlias = Key | Meter | Tempo | Remark
Item: TypeAlias = Event | Change


@dataclass(frozen=True)
class Barline:
    """The line between two bars. `style` is one of "single", "double", "final", "heavy-start", "dotted", "hidden".

    `ends` is how many times the section before it is repeated besides the first (":|" 1, "::|" 2, 0 for none);
    `starts` says that a repeat begins here ("|:").
    """

    style: str = "single"
    ends: int = 0
    starts: bool = False


@dataclass(frozen=True)
class Bar:
    """The items between two bar lines, in order. `overlays` are further layers that sound together with them (ABC &)."""

    items: tuple[Item, ...]
    overlays: tuple[tuple[Item, ...], ...] = ()
    # The line that ends the bar; None only for a bar cut off at the end of the music.
    close: Barline | None = None
    # This bar opens an ending, played on these passes: (1,), (2,), (1, 3). Empty for none.
    ending: tuple[int, ...] = ()
    # Where the bar begins in its source; not part of what makes two bars equal.
    place: Place | None = field(default=None, compare=False)

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of the main layer."""
        return tuple(item for item in self.items if isinstance(item, Event))

    @property
    def length(self) -> Fraction:
        """Quarters that the main layer takes."""
        return sum((event.length for event in self.events), Fraction(0))

    @cached_property
    def longest(self) -> Fraction:
        """Quarters until the next bar: what the longest layer takes."""
        layers = (self.items, *self.overlays)
        return max(sum((item.length for item in layer if isinstance(item, Event)), Fraction(0)) for layer in layers)


@dataclass(frozen=True)
class Part:
    """A voice or instrument: its bars in written order, repeats not unfolded."""

    bars: tuple[Bar, ...]
    # The voice's identifier ("1", "T1"); empty for the only voice of a tune that names none.
    name: str = ""
    # The rest of its V: field as text ('clef=bass name="Cello"').
    properties: str = ""
    # The line before the first bar ("|:", "[|", "||"); None when there is none.
    open: Barline | None = None
    # General MIDI program, 0..127, when the source says so.
    program: int | None = None
    # Semitones from written to sounding pitch (ABC transpose=, octave=, treble-8).
    transpose: int = 0


@dataclass(frozen=True)
class Score:
    """A piece. The header's meter, key and tempo hold for every part until an item changes them."""

    parts: tuple[Part, ...]
    meter: Meter
    key: Key
    tempo: Tempo | None = None
    # The unit note length the source counts in, in quarters (ABC L:1/8 is 1/2). A hint for writers.
    unit: Fraction = Fraction(1, 2)
    # Every other header field in order: ("X", "1"), ("T", "Title"), ("R", "jig"), ("%%", "MIDI program 73"), ...
    fields: tuple[tuple[str, str], ...] = ()
    # Text that stands after the tune: ("W", "words of the song").
    words: tuple[str, ...] = ()
    warnings: tuple[NotationWarning, ...] = field(default=(), compare=False)

    def header(self, letter: str) -> str:
        """The first header field of that letter, or ""."""
        return next((text for name, text in self.fields if name == letter), "")

    @property
    def title(self) -> str:
        return self.header("T")

    def bars(self) -> Iterator[Bar]:
        """Every bar of every part."""
        for part in self.parts:
            yield from part.bars
