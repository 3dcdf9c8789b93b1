"""Events of a score as ABC music: notes, chords and rests with everything that hangs on them."""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.abc_field_text import SIGNS, escaped
from rwkv_music_tokenizers.abc_rhythm import FINEST, NORMAL, is_compound
from rwkv_music_tokenizers.accidentals import Accidentals
from rwkv_music_tokenizers.intervals import respelled
from rwkv_music_tokenizers.keys import STEPS
from rwkv_music_tokenizers.score import Event, Grace, Meter, Tone, Tuplet

# Decorations that are shorter, and as well known, by their sign.
SIGN_DECORATIONS = {"staccato": ".", "roll": "~", "trill": "T", "upbow": "u", "downbow": "v"}
# The signs of a broken rhythm, by how many times its long note is its short one.
BROKEN = {Fraction(3): ">", Fraction(7): ">>"}
ZERO, ONE = Fraction(0), Fraction(1)

_DECORATION = re.compile(r'[^\s!|\[\]":]{1,40}')
_PLACEMENTS = "^_<>@"


def is_flagged(event: Event) -> bool:
    """A note shorter than a quarter as written, so that a beam can reach it."""
    return bool(event.tones) and written_length(event) < 1


def written_length(event: Event) -> Fraction:
    """Quarters that an event shows: its sounding length, the tuplet taken out."""
    return event.length * Fraction(event.tuplet.actual, event.tuplet.normal) if event.tuplet else event.length


def length_text(units: Fraction) -> str:
    """A length in units as it stands behind a note: "", "2", "/2", "3/2"."""
    units = units.limit_denominator(FINEST)
    above = "" if units.numerator == 1 else str(units.numerator)
    return above if units.denominator == 1 else f"{above}/{units.denominator}"


@lru_cache(maxsize=256)
def letter_text(degree: int) -> str:
    """A degree (7 * octave + step) as an ABC letter with its octave marks."""
    octave, step = divmod(degree, 7)
    if octave > 4:
        return STEPS[step].lower() + "'" * (octave - 5)
    return STEPS[step] + "," * (4 - octave)


class LayerWriter:
    """Writes the events of one layer of a voice, bar after bar. `unit` is what its lengths count, in quarters."""

    def __init__(self, unit: Fraction, signature: Sequence[int], reach: str):
        self.unit = unit
        self.accidentals = Accidentals(signature, reach)
        # What the tuplet that a reader is in makes of the next event.
        self._tuplet: Tuplet | None = None

    def events(self, events: Sequence[Event], meter: Meter, onset: Fraction = ZERO) -> str:
        """Events that follow each other from `onset` quarters into the bar, with nothing else between them.

        Blanks stand before every beat, and between short notes that no beam joins.
        """
        text = ""
        signs = _broken_signs(events, self.unit)
        for number, event in enumerate(events):
            before = signs[number - 1] if number else ""
            if number and not before and _is_apart(events[number - 1], event, onset, meter):
                text += " "
            onset += event.length
            factor = _unbroken(signs[number] or before, bool(signs[number]))
            text += self._event(event, written_length(event) * factor, meter) + signs[number]
        return text

    def _event(self, event: Event, written: Fraction, meter: Meter) -> str:
        opening = "(" * event.slurs_open + self._tuplet_text(event, meter)
        grace = self._grace_text(event) if event.grace or event.slashed else ""
        length = length_text(written / self.unit)
        if event.tones:
            sounding = self._tones_text(event.tones, length)
        elif event.whole_bar:
            sounding = "X" if event.hidden else "Z"
        else:
            sounding = ("x" if event.hidden else "z") + length
        self._hold(event.tones)
        return opening + grace + _marks_text(event) + sounding + ")" * event.slurs_close

    def _tuplet_text(self, event: Event, meter: Meter) -> str:
        """What opens the event's tuplet, or nothing where a reader is in it already."""
        if event.whole_bar:
            # Such a rest ends whatever was begun.
            self._tuplet = None
            return ""
        tuplet, expected = event.tuplet, self._tuplet
        self._tuplet = _next_in_tuplet(tuplet or expected)
        if tuplet == expected:
            return ""
        if tuplet is None:
            # The tuplet before lacks events; one that changes nothing ends it.
            self._tuplet = None
            return "(2:2:1"
        count = tuplet.count - tuplet.index
        usual = NORMAL.get(tuplet.actual) or (3 if is_compound(meter) else 2)
        if count != tuplet.actual:
            return f"({tuplet.actual}:{tuplet.normal}:{count}"
        return f"({tuplet.actual}" if tuplet.normal == usual else f"({tuplet.actual}:{tuplet.normal}"

    def _grace_text(self, event: Event) -> str:
        notes = "".join(self._grace_note(grace) for grace in event.grace)
        return ("{/" if event.slashed else "{") + notes + "}"

    def _grace_note(self, grace: Grace) -> str:
        return self._tones_text(grace.tones, length_text(grace.length / self.unit), can_tie=False)

    def _tones_text(self, tones: tuple[Tone, ...], length: str, can_tie: bool = True) -> str:
        together = can_tie and all(tone.tied for tone in tones)
        notes = [self._tone_text(tone) + ("-" if tone.tied and not together else "") for tone in tones]
        text = notes[0] if len(notes) == 1 else f"[{''.join(notes) or 'z'}]"
        return text + length + ("-" if together else "")

    def _tone_text(self, tone: Tone) -> str:
        pitch = tone.pitch
        degree, alter = respelled(7 * pitch.octave + STEPS.index(pitch.step), pitch.alter, 2)
        if alter == self.accidentals.implied(degree):
            return letter_text(degree)
        self.accidentals.write(degree, alter)
        return SIGNS[alter] + letter_text(degree)

    def _hold(self, tones: tuple[Tone, ...]) -> None:
        tied = [tone.pitch for tone in tones if tone.tied]
        self.accidentals.ties = {7 * pitch.octave + STEPS.index(pitch.step): pitch.alter for pitch in tied}


def _is_apart(before: Event, event: Event, onset: Fraction, meter: Meter) -> bool:
    if event.beamed:
        return False
    return onset % meter.beat == 0 or (is_flagged(before) and is_flagged(event))


def _next_in_tuplet(tuplet: Tuplet | None) -> Tuplet | None:
    if tuplet is None or tuplet.index + 1 >= tuplet.count:
        return None
    return Tuplet(tuplet.actual, tuplet.normal, tuplet.count, tuplet.index + 1)


def _marks_text(event: Event) -> str:
    """Chord symbol, annotations and decorations, in front of the note."""
    marks = []
    if event.chord:
        chord = escaped(event.chord.lstrip(_PLACEMENTS), '"')
        marks.append(f'"{chord}"')
    for annotation in event.annotations:
        words = escaped(annotation.text, '"')
        marks.append(f'"{annotation.placement}{words}"')
    for name in event.decorations:
        if name in SIGN_DECORATIONS:
            marks.append(SIGN_DECORATIONS[name])
        elif _DECORATION.fullmatch(name):
            marks.append(f"!{name}!")
    return "".join(marks)


def _broken_signs(events: Sequence[Event], unit: Fraction) -> list[str]:
    """For each event the sign of the broken rhythm that it begins, or ""."""
    signs = [""] * len(events)
    for number in range(len(events) - 1):
        if not (number and signs[number - 1]):
            signs[number] = _broken_sign(events[number], events[number + 1], unit)
    return signs


def _broken_sign(first: Event, second: Event, unit: Fraction) -> str:
    if first.length == second.length or first.tuplet or second.tuplet or first.whole_bar or second.whole_bar:
        return ""
    # The sign joins its notes, so it cannot stand between two flags that no beam connects.
    if is_flagged(first) and is_flagged(second) and not second.beamed:
        return ""
    longer, shorter = max(first.length, second.length), min(first.length, second.length)
    sign = BROKEN.get(longer / shorter) if shorter else None
    even = (first.length + second.length) / 2 / unit
    if sign is None or even.denominator >= (longer / unit).denominator:
        return ""
    return sign if first.length == longer else sign.replace(">", "<")


def _unbroken(sign: str, is_first: bool) -> Fraction:
    """What brings a note's length back to the one written beside the sign of its broken rhythm."""
    if not sign:
        return ONE
    short = Fraction(1, 2 ** len(sign))
    is_long = is_first == (sign[0] == ">")
    return 1 / (2 - short) if is_long else 1 / short
