"""Events and bars of ABC in the making, before they are fixed in a score."""

from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.abc_text import plain
from rwkv_music_tokenizers.errors import Place
from rwkv_music_tokenizers.keys import Pitch
from rwkv_music_tokenizers.score import (
    Annotation,
    Bar,
    Barline,
    Change,
    Event,
    Grace,
    Syllable,
    Tone,
    Tuplet,
)

# Annotations, decorations or grace notes at one event, and tones in one chord.
MOST_MARKS = 64
ZERO = Fraction(0)
# Which of two bar lines at the same spot is seen: the later in this list.
STYLES = ("hidden", "single", "dotted", "double", "heavy-start", "final")


@lru_cache(maxsize=2048)
def tone(step: str, alter: int, octave: int, tied: bool = False) -> Tone:
    """The tone of a written pitch; the same object for the same pitch."""
    return Tone(Pitch(step, alter, octave), tied)


def tied(a_tone: Tone) -> Tone:
    """The tone, held into the next event."""
    return tone(a_tone.pitch.step, a_tone.pitch.alter, a_tone.pitch.octave, True)


def merged(first: Barline, second: Barline) -> Barline:
    """Two bar lines with no music between them are one."""
    style = max(first.style, second.style, key=STYLES.index)
    return Barline(style, max(first.ends, second.ends), first.starts or second.starts)


class Draft:
    """An event in the making; the class holds what an event is when nothing is said."""

    length: Fraction = ZERO
    tones: tuple[Tone, ...] = ()
    hidden = False
    whole_bar = False
    # Nothing but its own marks stands between the event before and this one.
    close = False
    tuplet: Tuplet | None = None
    grace: tuple[Grace, ...] = ()
    slashed = False
    decorations: tuple[str, ...] = ()
    chord = ""
    annotations: tuple[Annotation, ...] = ()
    lyrics: tuple[Syllable | None, ...] = ()
    slurs_open = 0
    slurs_close = 0

    def add_words(self, text: str) -> bool:
        """Take a chord symbol or annotation in its quotes; False when there are too many.

        Of two chord symbols the second becomes the alternative to the first, as ABC writes one: "G(Em)".
        """
        words = plain(text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:])
        if words[:1] and words[0] in "^_<>@":
            if len(self.annotations) >= MOST_MARKS:
                return False
            self.annotations += (Annotation(words[0], words[1:].strip()),)
        elif words:
            if "(" in self.chord:
                return False
            self.chord = f"{self.chord}({words})" if self.chord else words
        return True

    def add_decoration(self, name: str) -> bool:
        """Take a decoration; False when there are too many."""
        if len(self.decorations) >= MOST_MARKS:
            return False
        self.decorations += (name,)
        return True

    def event(self, beamed: bool) -> Event:
        return Event(
            self.length,
            self.tones,
            self.hidden,
            self.whole_bar,
            beamed,
            self.tuplet,
            self.grace,
            self.slashed,
            self.decorations,
            self.chord,
            self.annotations,
            self.lyrics,
            self.slurs_open,
            self.slurs_close,
        )

    @property
    def flagged(self) -> bool:
        """A note shorter than a quarter as written, so that a beam can reach it."""
        length = self.length
        if self.tuplet:
            return bool(self.tones) and length * self.tuplet.actual < self.tuplet.normal
        return bool(self.tones) and length.numerator < length.denominator


DraftItem = Draft | Change


class DraftBar:
    """A bar in the making. `layers` are its main layer and overlays."""

    def __init__(self) -> None:
        self.layers: list[list[DraftItem]] = [[]]
        self.close: Barline | None = None
        self.ending: tuple[int, ...] = ()
        self.place: Place | None = None
        # Some event stands in it.
        self.sounds = False

    def bar(self) -> Bar:
        """The bar as it stands; changes in a layer without events join the main layer."""
        if len(self.layers) == 1:
            return Bar(finished(self.layers[0]), (), self.close, self.ending, self.place)
        silent = [item for layer in self.layers if not _sounds(layer) for item in layer]
        first, *others = (layer for layer in self.layers if _sounds(layer))
        overlays = tuple(finished(layer) for layer in others)
        return Bar(finished([*silent, *first]), overlays, self.close, self.ending, self.place)


def _sounds(layer: list[DraftItem]) -> bool:
    return any(isinstance(item, Draft) for item in layer)


def finished(layer: list[DraftItem]) -> tuple[Event | Change, ...]:
    """The items of a layer, with beams drawn between short notes that stand close."""
    items: list[Event | Change] = []
    flagged = False
    for item in layer:
        if isinstance(item, Draft):
            before, flagged = flagged, item.flagged
            items.append(item.event(beamed=before and flagged and item.close))
        else:
            items.append(item)
    return tuple(items)
