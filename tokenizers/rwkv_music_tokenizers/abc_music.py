"""The music of a tune: a machine that takes one token after another and fills voices with bars."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from rwkv_music_tokenizers.abc_draft import MOST_MARKS, Draft, tied
from rwkv_music_tokenizers.abc_fields import Voice
from rwkv_music_tokenizers.abc_header import Header
from rwkv_music_tokenizers.abc_lexer import Token
from rwkv_music_tokenizers.abc_marks import read_barline, read_ending, read_note
from rwkv_music_tokenizers.abc_rhythm import LONGEST_REST, Rhythm, read_multiplier
from rwkv_music_tokenizers.abc_symbols import decoration_name
from rwkv_music_tokenizers.abc_voices import Voices
from rwkv_music_tokenizers.score import Barline, Grace, Tone


@dataclass
class Chord:
    """A chord between its brackets."""

    # It stands among grace notes.
    graces: bool = False
    tones: list[Tone] = field(default_factory=list)
    # Written length of its first note, in quarters.
    written: Fraction | None = None
    # A broken rhythm that stands inside it, as some write one.
    broken: str = ""


class Music:
    """The state of the body: the voices, and what is open in the one being written."""

    def __init__(self, header: Header):
        self.header = header
        self.voices = Voices(header)
        self.voice = self.voices.current
        self._chord: Chord | None = None
        self._graces: list[Grace] | None = None
        self._grace_rhythm = self.voice.layer.rhythm
        # Nothing stands between the last event and here.
        self._close = False

    def choose_voice(self, wanted: Voice) -> None:
        """Go on in another voice."""
        self.voice = self.voices.choose(wanted)

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
                self._close = False
                if not self.voice.overlay():
                    self.header.warn("too many layers in one bar; this one goes on in the layer before", token)
            case "unknown" if token.text == ":" and not self.voice.bar.sounds:
                # The colon of "|:" on the next line.
                self.voice.close_bar(Barline(starts=True), token.place)
            case "unknown":
                self.header.warn(f"{token.text!r} means nothing here and is left out", token)

    def _note(self, token: Token) -> None:
        voice = self.voice
        sign, step, octave, length = read_note(token.text)
        tone = voice.sound(sign, step, octave)
        written = self._written(length, token)
        chord, graces = self._chord, self._graces
        if graces is not None and (chord is None or not chord.graces):
            if len(graces) < MOST_MARKS:
                graces.append(Grace((tone,), self._grace_rhythm.take(written)[0]))
        elif chord is not None:
            if len(chord.tones) < MOST_MARKS:
                chord.tones.append(tone)
            chord.written = chord.written or written
        else:
            self._event(written, (tone,), token)

    def _written(self, length: str, token: Token) -> Fraction:
        written = self.voice.layer.rhythm.written(length)
        if written is None:
            self.header.warn(f"the length {length!r} is out of range; one unit is taken", token)
            return self.voice.layer.rhythm.unit
        return written

    def _event(self, written: Fraction, tones: tuple[Tone, ...], token: Token) -> Draft:
        self._stand(token)
        draft = self.voice.add(written, tones, self._close)
        self._close = True
        return draft

    def _stand(self, token: Token) -> None:
        """Note where the bar begins."""
        bar = self.voice.bar
        if bar.place is None:
            bar.place = token.place

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
            self._stand(token)
            self.voice.rest_bar(hidden=letter == "X")
            self._close = False

    def _bar(self, token: Token) -> None:
        self.settle(token)
        self.voice.leave_marks()
        self.voice.close_bar(read_barline(token.text), token.place)
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
        if not self.voice.waiting.add_words(text):
            self.header.warn(f"too much text on one note; {text[:40]} is left out", token)

    def _decoration(self, token: Token) -> None:
        text = token.text
        name = decoration_name(text) if len(text) > 1 else self.header.symbols.get(text)
        if name is None:
            self.header.warn(f"{text!r} has no meaning yet (give it one with U:) and is left out", token)
        elif name.startswith('"'):
            self._quoted(name, token)
        elif name and not self.voice.waiting.add_decoration(name):
            self.header.warn(f"too many decorations on one note; {text} is left out", token)

    def _broken(self, token: Token) -> None:
        if self._graces is not None:
            if self._graces and not self._grace_rhythm.waits:
                before = self._graces[-1]
                self._graces[-1] = Grace(before.tones, before.length * self._grace_rhythm.bend(token.text))
        elif self._chord is not None and self._chord.tones:
            self._chord.broken = token.text
        elif not self.voice.bend(token.text):
            self.header.warn(f"{token.text!r} needs a note before it", token)

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
        self._chord = Chord(graces=self._graces is not None)

    def _close_chord(self, token: Token) -> None:
        if self._chord is None:
            self.header.warn("']' without a chord before it", token)
        else:
            if self._graces is not None and not self._chord.graces:
                self._close_grace(token)
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
        if chord.graces and self._graces is not None:
            self._graces.append(Grace(tones, self._grace_rhythm.take(written)[0]))
            return
        draft = self._event(written, tones, token)
        self.voice.remember_ties(draft)
        if chord.broken:
            self.voice.bend(chord.broken)

    def _open_grace(self, token: Token) -> None:
        if self._graces is not None:
            self._close_grace(token)
        self._graces = []
        rhythm = self.voice.layer.rhythm
        self._grace_rhythm = Rhythm(rhythm.unit, rhythm.meter)
        if token.text.endswith("/"):
            self.voice.waiting.slashed = True

    def _close_grace(self, token: Token) -> None:
        if self._graces is None:
            self.header.warn("'}' without grace notes before it", token)
            return
        if self._chord is not None and self._chord.graces:
            self._end_chord("", token)
        self.voice.waiting.grace = (*self.voice.waiting.grace, *self._graces)[:MOST_MARKS]
        self._graces = None

    def settle(self, token: Token) -> None:
        """Close what stays open where it cannot go on."""
        if self._graces is not None:
            self.header.warn("grace notes without their '}'", token)
            self._close_grace(token)
        if self._chord is not None:
            self.header.warn("a chord without its ']'", token)
            self._end_chord("", token)

    def interrupt(self, token: Token) -> None:
        """A field stands here."""
        self.settle(token)
        self._close = False

    def end(self, token: Token) -> None:
        """The music is over: close what is open, and give the last note of each voice the marks that wait."""
        self.settle(token)
        for voice in self.voices:
            voice.leave_all_marks()
