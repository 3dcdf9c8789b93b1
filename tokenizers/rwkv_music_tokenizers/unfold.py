"""Scores as they are performed: repeats played out, and the notes that sound with their exact times."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from rwkv_music_tokenizers.clefs import Staff, read_staff
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.repeats import MAX_BARS, Sign, playing_order
from rwkv_music_tokenizers.score import Bar, Barline, Event, Item, Meter, Part, Remark, Score, Tempo
from rwkv_music_tokenizers.timeline import timeline

# Notes, rests and changes that all voices may have together once unfolded.
MAX_ITEMS = 60_000
BOUNDARIES = ("double", "final", "heavy-start")
JUMPS = ("dc", "ds", "dcalfine", "dcalcoda", "dsalfine", "dsalcoda", "fine", "segno", "coda", "tocoda")
# Other names of the same jump words, letters only.
JUMP_NAMES = {"dacapo": "dc", "dalsegno": "ds", "dacoda": "tocoda"}
# The kinds of signs that one voice may write for all, as fields of Sign.
_KINDS = (("opens", "ending", "ends", "boundary"), ("label",), ("words",))


@dataclass(frozen=True)
class PerformedNote:
    """A note that sounds: onset and length in quarters, MIDI key number, index of its part, number of its bar played."""

    onset: Fraction
    length: Fraction
    pitch: int
    part: int
    bar: int
    # The event it begins with; ties may hold the note longer than that.
    event: Event = field(repr=False, compare=False)
    # Semitones from the pitches that the event is written in to those that sound.
    shift: int = field(default=0, repr=False, compare=False)


def unfold(score: Score) -> Score:
    """The score with repeats, endings, the header's order of parts (P:) and da capo or dal segno played out.

    What is unfolded has no repeat signs left, so unfolding twice changes nothing. A voice without repeat signs, part
    labels or jump words takes them from the first voice that has them and as many bars.
    Raises NotationError where more than MAX_BARS bars or MAX_ITEMS notes, rests and changes would come out.
    """
    signs = _completed([signs_of(part) for part in score.parts])
    wanted = score.header("P")
    parts: list[Part] = []
    bars, items = MAX_BARS, MAX_ITEMS
    for part, own in zip(score.parts, signs, strict=True):
        order = playing_order(own, wanted, bars)
        weights = [len(bar.items) + sum(map(len, bar.overlays)) for bar in part.bars]
        bars -= len(order)
        items -= sum(weights[number] for number in order)
        if items < 0:
            raise NotationError(f"the repeats unfold to more than {MAX_ITEMS} notes; take some repeats out")
        parts.append(_performed(part, order, score))
    fields = tuple(pair for pair in score.fields if pair[0] != "P")
    return replace(score, parts=tuple(parts), fields=fields)


def performed_notes(score: Score) -> tuple[PerformedNote, ...]:
    """The notes that sound, ordered by onset, pitch and part; the score is unfolded first.

    Tied notes are one note; voices and overlays sound together; clefs such as treble-8 and the properties octave= and
    transpose= shift the pitches. Grace notes take no time and are not here. Raises NotationError as `unfold` does.
    """
    score = unfold(score)
    notes: list[PerformedNote] = []
    # (part, key number, end of a tied note) -> where it stands in `notes`.
    held: dict[tuple[int, int, Fraction], int] = {}
    staffs = first_staffs(score)
    for moment in timeline(score):
        part, item = moment.part, moment.item
        if isinstance(item, Key) and moment.layer == 0:
            staffs[part] = read_staff(item.properties, staffs[part])
        if not isinstance(item, Event):
            continue
        end = moment.onset + item.length
        for tone in item.tones:
            shift = staffs[part].sounding_shift
            pitch = tone.pitch.midi + shift
            place = held.pop((part, pitch, moment.onset), None)
            if place is None:
                place = len(notes)
                notes.append(PerformedNote(moment.onset, item.length, pitch, part, moment.bar, item, shift))
            else:
                notes[place] = replace(notes[place], length=end - notes[place].onset)
            if tone.tied:
                held[part, pitch, end] = place
    return tuple(sorted(notes, key=lambda note: (note.onset, note.pitch, note.part)))


def first_staffs(score: Score) -> list[Staff]:
    """The staff each part begins with: the header's key field, then the voice's own properties, else its `transpose`."""
    header = read_staff(score.key.properties, Staff())
    staffs = [read_staff(part.properties, header) for part in score.parts]
    if header != Staff():
        return staffs
    return [
        replace(staff, transpose=part.transpose) if staff == Staff() else staff
        for staff, part in zip(staffs, score.parts, strict=True)
    ]


def signs_of(part: Part) -> tuple[Sign, ...]:
    """What each bar of a part says about the order of playing."""
    signs: list[Sign] = []
    before = part.open
    for bar in part.bars:
        close = bar.close or Barline()
        signs.append(
            Sign(
                opens=before is not None and before.starts,
                ending=bar.ending,
                ends=close.ends,
                boundary=close.style in BOUNDARIES and not close.ends,
                label=_label(bar),
                words=_jump_words(bar),
            )
        )
        before = bar.close
    return tuple(signs)


def _label(bar: Bar) -> str:
    labels = [item.text.strip().rstrip(".:") for item in bar.items if isinstance(item, Remark) and item.letter == "P"]
    return labels[-1] if labels else ""


def _jump_words(bar: Bar) -> frozenset[str]:
    words: set[str] = set()
    for place, event in enumerate(bar.events):
        for decoration in event.decorations:
            word = jump_word(decoration)
            # A coda sign further on in the bar is where to leave it.
            words.add("tocoda" if word == "coda" and place else word)
    return frozenset(words - {""})


def jump_word(decoration: str) -> str:
    """The normalised jump word a decoration stands for ("D.S.alcoda" is "dsalcoda"), or ""."""
    letters = "".join(character for character in decoration.lower() if character.isalpha())
    letters = JUMP_NAMES.get(letters, letters)
    return letters if letters in JUMPS else ""


def _completed(all_signs: Sequence[tuple[Sign, ...]]) -> list[tuple[Sign, ...]]:
    """The signs of all voices, those without one kind of sign given it by the first voice with it and as many bars."""
    completed = list(all_signs)
    for kind in _KINDS:
        givers: dict[int, tuple[Sign, ...]] = {}
        for signs in all_signs:
            if len(signs) not in givers and _has(signs, kind):
                givers[len(signs)] = signs
        for number, own in enumerate(completed):
            giver = givers.get(len(own))
            if giver and not _has(own, kind):
                completed[number] = tuple(
                    replace(sign, **{name: getattr(other, name) for name in kind})
                    for sign, other in zip(own, giver, strict=True)
                )
    return completed


def _has(signs: tuple[Sign, ...], kind: tuple[str, ...]) -> bool:
    return any(getattr(sign, name) for sign in signs for name in kind if name != "boundary")


@dataclass(frozen=True)
class _Context:
    """What is in force between two items of a part."""

    meter: Meter
    key: Key
    tempo: Tempo | None

    def after(self, items: tuple[Item, ...]) -> "_Context":
        now = self
        for item in items:
            if isinstance(item, Meter):
                now = replace(now, meter=item)
            elif isinstance(item, Key):
                now = replace(now, key=item)
            elif isinstance(item, Tempo):
                now = replace(now, tempo=item)
        return now

    def changes_to(self, other: "_Context") -> tuple[Item, ...]:
        wanted = ((self.meter, other.meter), (self.key, other.key), (self.tempo, other.tempo))
        return tuple(item for old, item in wanted if item is not None and item != old)


def _performed(part: Part, order: list[int], score: Score) -> Part:
    """The part's bars in playing order; what was in force where a bar is written is in force where it is played."""
    written = [_Context(score.meter, score.key, score.tempo)]
    for bar in part.bars:
        written.append(written[-1].after(bar.items))
    plain: dict[int, tuple[Item, ...]] = {}
    bars: list[Bar] = []
    now = written[0]
    for count, number in enumerate(order):
        bar = part.bars[number]
        if number not in plain:
            plain[number] = tuple(map(_without_jumps, bar.items))
        items = now.changes_to(written[number]) + plain[number]
        last = count == len(order) - 1
        bars.append(replace(bar, items=items, ending=(), close=_plain(bar.close, last)))
        now = written[number + 1]
    return replace(part, bars=tuple(bars), open=_plain(part.open, True))


def _plain(line: Barline | None, last: bool) -> Barline | None:
    """The line without repeats; repeat signs leave a double bar line behind."""
    if line is None:
        return None if last else Barline()
    if not line.ends and not line.starts:
        return line
    return Barline("final" if last and line.ends else "double")


def _without_jumps(item: Item) -> Item:
    if not isinstance(item, Event) or not any(map(jump_word, item.decorations)):
        return item
    return replace(item, decorations=tuple(name for name in item.decorations if not jump_word(name)))
