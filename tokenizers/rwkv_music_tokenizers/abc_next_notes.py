"""Which notes and grace notes may follow: those that sound within the limits and have room in the bar."""

from rwkv_music_tokenizers.abc_marks import ALTERS
from rwkv_music_tokenizers.abc_next_lengths import longer, note_lengths, sounded, written_steps
from rwkv_music_tokenizers.abc_room import new_room
from rwkv_music_tokenizers.abc_spot import NOTE, NOTHING, SOME_NOTE, SOUND, Options, Sign, Spot
from rwkv_music_tokenizers.grammar import NO_LIMITS, Limits

LETTERS = "CDEFGABcdefgab"
DEGREES = {letter: 7 * (4 + number // 7) + number % 7 for number, letter in enumerate(LETTERS)}
SEMITONES = (0, 2, 4, 5, 7, 9, 11)
SIGNS = ("^", "_", "=", "^^", "__")
# Octave marks at a capital and at a small letter, notes in one chord and grace notes before one note that are written.
MOST_DOWN, MOST_UP = 4, 3
MOST_TONES = 8
MOST_GRACES = 8
# Without limits the key is not followed: no signature and accidental alters more than this.
MARGIN = 2
NOTE_AT = Spot._fields.index("note")


def natural(degree: int) -> int:
    """The MIDI number of a degree without accidental."""
    return 12 * (degree // 7 + 1) + SEMITONES[degree % 7]


def follows_keys(limits: Limits) -> bool:
    """The limits make a difference between a note and the same note altered."""
    return (limits.lowest, limits.highest, limits.classes) != (NO_LIMITS.lowest, NO_LIMITS.highest, frozenset())


def may_sound(spot: Spot, sign: Sign, limits: Limits) -> bool:
    """That note may be written here; what is tied into it may always."""
    degree, accidental = sign
    if spot.chord is not None and len(spot.chord) < len(spot.tied) and (spot.joined or spot.holding):
        # In a chain of tied chords not every program finds notes again that change their order.
        tied = spot.tied[len(spot.chord)]
        return degree == tied[0] and accidental in ("", tied[1])
    others = (tone for tone in spot.tied if tone[0] != degree) if spot.chord is not None else ()
    for tone in (*(spot.chord or ()), *others):
        # A step that is altered stands once in a chord: programs differ in which octaves it alters.
        if degree == tone[0] or (degree % 7 == tone[0] % 7 and (accidental or tone[1])):
            return False
    for tone in spot.tied:
        if tone[0] == degree:
            return accidental in ("", tone[1]) and (spot.chord is not None or len(spot.tied) == 1)
    if (
        spot.tied
        and spot.graces < 0
        and (spot.chord is None or missing_tones(spot) >= most_tones(limits) - len(spot.chord))
    ):
        return False
    if not spot.signature:
        return MARGIN <= natural(degree) <= 127 - MARGIN
    pitch = natural(degree) + alteration(spot, sign)
    return limits.lowest <= pitch <= limits.highest and (not limits.classes or pitch % 12 in limits.classes)


def _unlimited(spot: Spot) -> bool:
    """Every letter may sound in some octave."""
    return not spot.signature and not spot.tied and spot.chord is None


def alteration(spot: Spot, sign: Sign) -> int:
    degree, accidental = sign
    if accidental:
        return ALTERS[accidental]
    altered = spot.altered[degree % 7]
    return spot.signature[degree % 7] if altered is None else altered


def most_tones(limits: Limits) -> int:
    return min(limits.polyphony or MOST_TONES, MOST_TONES)


def missing_tones(spot: Spot) -> int:
    """Tied notes that the chord being written lacks."""
    have = {degree for degree, _sign in spot.chord or ()}
    return sum(degree not in have for degree, _sign in spot.tied)


def _octaves(degree: int) -> range:
    """The degree of a letter and those that its octave marks lead to: downwards from a capital letter, else upwards."""
    if degree >= DEGREES["c"]:
        return range(degree, degree + 7 * MOST_UP + 1, 7)
    return range(degree, degree - 7 * MOST_DOWN - 1, -7)


def notes(spot: Spot, limits: Limits, accidental: str = "") -> Options:
    """The letters that may follow, and without `accidental` the accidentals."""
    if not note_lengths(spot):
        return {}
    written = spot.but(mode="note", text="")
    head, tail = written[:NOTE_AT], written[NOTE_AT + 1 :]
    capital, small = (written.but(note=(DEGREES[letter], "")) for letter in "Cc")
    every = _unlimited(spot)
    found: Options = {}
    for letter, degree in DEGREES.items():
        if every:
            # Only its octave marks make a difference.
            found[letter] = capital if letter.isupper() else small
        elif any(may_sound(spot, (one, accidental), limits) for one in _octaves(degree)):
            found[letter] = Spot._make((*head, (degree, accidental), *tail))
    if not accidental:
        for sign in ("^", "_", "="):
            if any(any_note(spot, limits, one) for one in SIGNS if one.startswith(sign)):
                found[sign] = spot.but(mode="sign", text=sign)
    return found


def any_note(spot: Spot, limits: Limits, accidental: str = "") -> bool:
    """Some letter may follow."""
    if not note_lengths(spot):
        return False
    if _unlimited(spot):
        return True
    return any(may_sound(spot, (one, accidental), limits) for degree in DEGREES.values() for one in _octaves(degree))


def grow_sign(spot: Spot, limits: Limits) -> Options:
    """After an accidental."""
    found = notes(spot, limits, spot.text)
    double = spot.text * 2
    if double in SIGNS and any_note(spot, limits, double):
        found[spot.text] = spot.but(text=double)
    return found


def grow_note(spot: Spot, limits: Limits) -> Options:
    """Octave marks and the length of a note."""
    degree, accidental = spot.note
    found = longer(spot, note_lengths(spot))
    if not spot.text:
        ahead = [one for one in _octaves(_letter(degree)) if abs(one - _letter(degree)) > abs(degree - _letter(degree))]
        if any(may_sound(spot, (one, accidental), limits) for one in ahead):
            found["'" if degree >= DEGREES["c"] else ","] = spot.but(note=(ahead[0], accidental))
        if not may_sound(spot, spot.note, limits):
            return {sign: one for sign, one in found.items() if sign in "',"}
    return found


def _letter(degree: int) -> int:
    """The degree of the letter that this degree is written with."""
    octave = min(max(degree // 7, 4), 5)
    return 7 * octave + degree % 7


def settle_note(spot: Spot, limits: Limits) -> Spot | None:
    """The spot after a note that is complete; None where it is not."""
    steps = written_steps(spot, note_lengths(spot))
    if not steps or not may_sound(spot, spot.note, limits):
        return None
    if spot.signature and spot.note[1]:
        altered = list(spot.altered)
        altered[spot.note[0] % 7] = ALTERS[spot.note[1]]
        spot = spot.but(altered=tuple(altered))
    if spot.graces >= 0:
        return spot.but(mode="", text="", graces=spot.graces + 1)
    if spot.chord is not None:
        inner = spot.text if spot.inner is None else spot.inner
        tones = (spot.note,)
        return spot.but(
            mode="", text="", chord=(*spot.chord, *tones), inner=inner, fresh=True, tones=tones, note=(0, "")
        )
    return sounded(spot, steps, (spot.note,) if spot.signature else SOME_NOTE)


def in_graces(spot: Spot, limits: Limits) -> Options:
    """Between the braces of grace notes."""
    found = notes(spot, limits) if spot.graces < MOST_GRACES else {}
    if spot.graces > 0:
        found["}"] = spot.but(graces=-1, owed=NOTE, marks=spot.marks + 1)
    return found


def events(spot: Spot, limits: Limits) -> Options:
    """What begins a note or a rest."""
    if not spot.room.lengths():
        return {}
    start = begun(spot)
    found = notes(start, limits)
    if not spot.tied and spot.owed <= SOUND:
        found["z"] = found["x"] = start.but(mode="rest")
        empty = not (spot.sounds or spot.marks or spot.blank) and spot.room == new_room(spot.room.unit, spot.room.meter)
        if empty and spot.room.meter.bar is not None:
            found["Z"] = start.but(mode="whole")
    return found


def begun(spot: Spot) -> Spot:
    """The spot at the beginning of an event."""
    return spot.but(
        mode="",
        text="",
        owed=NOTHING,
        marks=0,
        named=False,
        fresh=False,
        tones=(),
        line="",
        blank=False,
        spaced=False,
    )
