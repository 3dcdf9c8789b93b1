"""The body of a tune: a machine that takes one token after another and fills voices with bars."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from rwkv_music_tokenizers.abc_fields import Voice, default_unit
from rwkv_music_tokenizers.abc_lexer import Token
from rwkv_music_tokenizers.abc_rhythm import Rhythm, read_multiplier
from rwkv_music_tokenizers.abc_symbols import SHORT, decoration_name
from rwkv_music_tokenizers.abc_text import plain
from rwkv_music_tokenizers.abc_voice import Draft, VoiceBuilder, tied
from rwkv_music_tokenizers.errors import NotationError, NotationWarning
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Annotation, Barline, Grace, Meter, Tempo, Tone

MOST_VOICES = 100
MOST_WARNINGS = 200
# Annotations, decorations or grace notes at one event, and tones in one chord.
MOST_MARKS = 64
LONGEST_REST = 1000
WHOLE = Fraction(4)
# Decorations that belong to the end of a bar when they stand before its line.
AT_BAR_END = frozenset({"D.C.", "D.S.", "dacapo", "dacoda", "fine", "breath", "D.C.alfine", "D.C.alcoda"})

NOTE = re.compile(r"(\^{1,2}|_{1,2}|=)?([A-Ga-g])([,']*)(.*)")
ALTERS = {"^": 1, "^^": 2, "_": -1, "__": -2, "=": 0}


@lru_cache(maxsize=4096)
def read_note(text: str) -> tuple[int | None, str, int, str]:
    """A note's written accidental in semitones (None: none), its step, octave and length text."""
    match = NOTE.fullmatch(text)
    assert match is not None
    sign, letter, marks, length = match.groups()
    octave = (5 if letter.islower() else 4) + marks.count("'") - marks.count(",")
    return ALTERS.get(sign), letter.upper(), octave, length


@lru_cache(maxsize=256)
def read_barline(text: str) -> Barline:
    """The bar line that its ABC signs draw."""
    core = text.strip(":")
    if not core:
        return Barline(ends=max(1, len(text) // 2), starts=True)
    ends = len(text) - len(text.lstrip(":"))
    starts = text.endswith(":")
    if core in ("|", "||", "|||") and ends and starts:
        return Barline(ends=ends, starts=True)
    styles = {"|": "single", ".|": "dotted", "[|": "heavy-start", "[|]": "hidden"}
    style = "final" if core.startswith("|") and core.endswith("]") else styles.get(core, "double")
    return Barline(style, ends, starts)


def read_ending(text: str) -> tuple[int, ...]:
    """The passes that an ending's numbers name: "[1,3" is (1, 3), "2-4" is (2, 3, 4)."""
    numbers: set[int] = set()
    for piece in text.lstrip("[").split(","):
        first, *last = (int(number) for number in piece.split("-"))
        numbers.update(range(first, min(last[-1] if last else first, 99) + 1))
    return tuple(sorted(number for number in numbers if 0 < number < 100))


@dataclass
class Header:
    """What stands before the music, and holds for every voice until it changes."""

    meter: Meter = Meter("none", None)
    unit: Fraction | None = None
    key: Key = Key()
    tempo: Tempo | None = None
    # The Q: field, read when the unit length is known.
    tempo_field: Token | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    # Programs by voice name, "" for all others.
    programs: dict[str, int] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    # What U: makes of a letter.
    symbols: dict[str, str] = field(default_factory=lambda: dict(SHORT))
    reach: str = "pitch"
    warnings: list[NotationWarning] = field(default_factory=list)

    def warn(self, message: str, token: Token) -> None:
        if len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(NotationWarning(message, token.place))


@dataclass
class Chord:
    """A chord between its brackets."""

    tones: list[Tone] = field(default_factory=list)
    # Written length of its first note, in quarters.
    written: Fraction | None = None


class Music:
    """The state of the body: the voices, and what is open in the one being written."""

    def __init__(self, header: Header):
        self.header = header
        self.unit = header.unit or default_unit(header.meter)
        self.voices: dict[str, VoiceBuilder] = {}
        for voice in header.voices:
            self.choose_voice(voice)
        self.voice = next(iter(self.voices.values()), None) or self.choose_voice(Voice(""))
        self._chord: Chord | None = None
        self._graces: list[Grace] | None = None
        self._grace_rhythm = self.voice.layer.rhythm
        # Nothing stands between the last event and here.
        self._close = False

    def choose_voice(self, wanted: Voice) -> VoiceBuilder:
        """Go on in the voice of that name; a new one begins with what the header says."""
        unnamed = self.voices.get("")
        if wanted.name not in self.voices and unnamed and not unnamed.bars and not unnamed.bar.sounds:
            self.voices = {wanted.name: unnamed}
            unnamed.name = wanted.name
        if wanted.name not in self.voices:
            if len(self.voices) >= MOST_VOICES:
                raise NotationError(f"more than {MOST_VOICES} voices")
            builder = VoiceBuilder(wanted.name, self.header.key, self.unit, self.header.meter)
            builder.reach = self.header.reach
            self.voices[wanted.name] = builder
        self.voice = self.voices[wanted.name]
        if wanted.properties and len(self.voice.properties) < 1000:
            self.voice.properties = f"{self.voice.properties} {wanted.properties}".strip()
        return self.voice

    def take(self, tokens: Iterator[Token]) -> Token | None:
        """Read tokens of music up to a field or directive, and return that; None at the end."""
        for token in tokens:
            match token.kind:
                case "note":
                    self._note(token)
                case "space" | "newline" | "linebreak":
                    self._close = False
                case "bar":
                    self._bar(token)
                case "symbol" | "annotation":
                    self._quoted(token.text, token)
                case "rest":
                    self._rest(token)
                case "chord_open":
                    self._open_chord(token)
                case "chord_close":
                    self._close_chord(token)
                case "field" | "inline" | "directive":
                    return token
                case _:
                    self._mark(token)
        return None

    def _mark(self, token: Token) -> None:
        match token.kind:
            case "broken":
                self._broken(token)
            case "tie":
                self._tie(token)
            case "slur_open" | "slur_close":
                self._slur(token)
            case "decoration":
                self._decoration(token)
            case "tuplet":
                if not self.voice.layer.rhythm.open_tuplet(token.text):
                    self.header.warn(f"{token.text!r} is no tuplet (2 to 64 notes)", token)
            case "grace_open":
                self._open_grace(token)
            case "grace_close":
                self._close_grace(token)
            case "ending":
                self._ending(token)
            case "overlay":
                self.settle(token)
                self.voice.overlay()
                self._close = False
            case "unknown":
                self.header.warn(f"{token.text!r} means nothing here and is left out", token)

    def _note(self, token: Token) -> None:
        voice = self.voice
        sign, step, octave, length = read_note(token.text)
        tone = voice.sound(sign, step, octave)
        written = self._written(length, token)
        if self._chord is not None:
            if len(self._chord.tones) < MOST_MARKS:
                self._chord.tones.append(tone)
            self._chord.written = self._chord.written or written
        elif self._graces is not None:
            self._graces.append(Grace((tone,), self._grace_rhythm.take(written)[0]))
        else:
            self._event(written, (tone,), token)

    def _written(self, length: str, token: Token) -> Fraction:
        written = self.voice.layer.rhythm.written(length)
        if written is None:
            self.header.warn(f"the length {length!r} is out of range; one unit is taken", token)
            return self.unit
        return written

    def _event(self, written: Fraction, tones: tuple[Tone, ...], token: Token) -> Draft:
        voice = self.voice
        if voice.bar.place is None:
            voice.bar.place = token.place
        draft = voice.add(written, tones, self._close)
        self._close = True
        return draft

    def _rest(self, token: Token) -> None:
        letter, length = token.text[0], token.text[1:]
        if self._graces is not None:
            return
        if self._chord is not None:
            self._chord.written = self._chord.written or self._written(length, token)
            return
        if letter in "zx":
            draft = self._event(self._written(length, token), (), token)
            if letter == "x":
                draft.hidden = True
            return
        bars = int(length) if length.isdecimal() else 1
        if not 0 < bars <= LONGEST_REST:
            self.header.warn(f"a rest of {bars} bars is out of range (1 to {LONGEST_REST}); one bar is taken", token)
            bars = 1
        for bar in range(bars):
            if bar:
                self.voice.close_bar(Barline(), token.place)
            draft = self._event(self.voice.meter.bar or WHOLE, (), token)
            draft.whole_bar, draft.hidden = True, letter == "X"

    def _bar(self, token: Token) -> None:
        self.settle(token)
        voice, waiting = self.voice, self.voice.waiting
        last = voice.layers[0].last
        if voice.bar.sounds and last is not None and (waiting.annotations or waiting.decorations):
            last.annotations += waiting.annotations
            last.decorations += tuple(name for name in waiting.decorations if name in AT_BAR_END)
            waiting.annotations = ()
            waiting.decorations = tuple(name for name in waiting.decorations if name not in AT_BAR_END)
        voice.close_bar(read_barline(token.text), token.place)
        self._close = False

    def _ending(self, token: Token) -> None:
        self.settle(token)
        bracketed = token.text[0] == "["
        numbers = read_ending(token.text)
        if not numbers or (self.voice.bar.sounds and not bracketed):
            self.header.warn(f"{token.text!r} means nothing here and is left out", token)
            return
        if self.voice.bar.sounds:
            self.voice.close_bar(Barline("hidden"), token.place)
        self.voice.bar.ending = numbers
        self._close = False

    def _quoted(self, text: str, token: Token) -> None:
        waiting = self.voice.waiting
        words = plain(text[1:-1] if len(text) > 1 and text.endswith('"') else text[1:])
        if text[1:2] and text[1] in "^_<>@":
            if len(waiting.annotations) < MOST_MARKS:
                waiting.annotations += (Annotation(text[1], words[1:].strip()),)
        elif words:
            if waiting.chord:
                self.header.warn(f"two chord symbols on one note; {waiting.chord!r} is left out", token)
            waiting.chord = words

    def _decoration(self, token: Token) -> None:
        text = token.text
        name = decoration_name(text) if len(text) > 1 else self.header.symbols.get(text)
        if name is None:
            self.header.warn(f"{text!r} has no meaning yet (give it one with U:) and is left out", token)
        elif name.startswith('"'):
            self._quoted(name, token)
        elif name and len(self.voice.waiting.decorations) < MOST_MARKS:
            self.voice.waiting.decorations += (name,)

    def _broken(self, token: Token) -> None:
        last = self.voice.layer.last
        if self._graces is not None:
            if self._graces:
                before = self._graces[-1]
                self._graces[-1] = Grace(before.tones, before.length * self._grace_rhythm.bend(token.text))
        elif last is None or self.voice.layer.rhythm.waits:
            self.header.warn(f"{token.text!r} needs a note before it", token)
        else:
            last.length *= self.voice.layer.rhythm.bend(token.text)

    def _tie(self, token: Token) -> None:
        if self._chord is not None:
            if self._chord.tones:
                self._chord.tones[-1] = tied(self._chord.tones[-1])
        elif self._graces is None:
            last = self.voice.layer.last
            if last is None or not last.tones:
                self.header.warn("a tie needs a note before it", token)
            else:
                self.voice.tie(last)

    def _slur(self, token: Token) -> None:
        if self._graces is not None:
            return
        last = self.voice.waiting if self._chord is not None else self.voice.layer.last
        if token.kind == "slur_open":
            self.voice.waiting.slurs_open += 1
        elif last is not None:
            last.slurs_close += 1

    def _open_chord(self, token: Token) -> None:
        if self._chord is not None:
            self.header.warn("a chord inside a chord; the first one ends here", token)
            self._end_chord("", token)
        self._chord = Chord()

    def _close_chord(self, token: Token) -> None:
        if self._chord is None:
            self.header.warn("']' without a chord before it", token)
        else:
            self._end_chord(token.text[1:], token)

    def _end_chord(self, length: str, token: Token) -> None:
        chord, self._chord = self._chord, None
        factor = read_multiplier(length) if length else Fraction(1)
        if chord is None or chord.written is None:
            self.header.warn("a chord without notes", token)
        elif factor is None:
            self.header.warn(f"the length {length!r} is out of range", token)
            self._sound_chord(chord.written, chord, token)
        else:
            self._sound_chord(chord.written * factor if length else chord.written, chord, token)

    def _sound_chord(self, written: Fraction, chord: Chord, token: Token) -> None:
        tones = tuple(chord.tones)
        if self._graces is not None:
            self._graces.append(Grace(tones, self._grace_rhythm.take(written)[0]))
            return
        draft = self._event(written, tones, token)
        self.voice.remember_ties(draft)

    def _open_grace(self, token: Token) -> None:
        self.settle(token)
        self._graces = []
        rhythm = self.voice.layer.rhythm
        self._grace_rhythm = Rhythm(rhythm.unit, rhythm.meter)
        if token.text.endswith("/"):
            self.voice.waiting.slashed = True

    def _close_grace(self, token: Token) -> None:
        if self._graces is None:
            self.header.warn("'}' without grace notes before it", token)
            return
        if self._chord is not None:
            self._end_chord("", token)
        self.voice.waiting.grace = (*self.voice.waiting.grace, *self._graces)[:MOST_MARKS]
        self._graces = None

    def settle(self, token: Token) -> None:
        """Close what stays open where it cannot go on."""
        if self._chord is not None:
            self.header.warn("a chord without its ']'", token)
            self._end_chord("", token)
        if self._graces is not None:
            self.header.warn("grace notes without their '}'", token)
            self._close_grace(token)

    def interrupt(self, token: Token) -> None:
        """A field stands here."""
        self.settle(token)
        self._close = False

    def end(self, token: Token) -> None:
        """The music is over: close what is open, and give the last note of each voice the marks that wait."""
        self.settle(token)
        for voice in self.voices.values():
            last = voice.layers[0].last
            if last is not None:
                last.annotations += voice.waiting.annotations
                last.decorations += voice.waiting.decorations
