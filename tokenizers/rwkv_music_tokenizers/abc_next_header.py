"""Which lines of a header may follow: control codes in their order, then fields of legal values, the key last."""

from fractions import Fraction

from rwkv_music_tokenizers.abc_fields import default_unit, read_key, read_meter, read_unit
from rwkv_music_tokenizers.abc_next_notes import follows_keys
from rwkv_music_tokenizers.abc_room import new_room
from rwkv_music_tokenizers.abc_spot import CUT, Head, Place, Spot
from rwkv_music_tokenizers.abc_values import after
from rwkv_music_tokenizers.grammar import Limits
from rwkv_music_tokenizers.keys import STEPS, Key
from rwkv_music_tokenizers.score import Meter

# Fields of free text, and its length.
TEXTS = "RTCONZ"
LONGEST_TEXT = 60
FIELDS = TEXTS + "MLQK"
_WRITABLE = frozenset(map(chr, range(32, 127))) - frozenset("%\\")


def grow_head(head: Head, limits: Limits) -> dict[str, Place]:
    """What may follow in a header."""
    if not head.text:
        return {letter: head._replace(text=letter) for letter in _letters(head)}
    if head.text == CUT:
        return {"\n": head._replace(text="")}
    if len(head.text) == 1:
        return {":": head._replace(text=head.text + ":")}
    letter, value = head.text[0], head.text[2:]
    is_text = letter in TEXTS
    signs = _text_signs(value) if is_text else after(letter, value)
    found: dict[str, Place] = {}
    for sign in signs:
        if sign:
            # Of free text only the length matters.
            found[sign] = head._replace(text=head.text + ("." if is_text and sign != " " else sign))
        else:
            found["\n"] = end_line(head, limits)
    return found


def _letters(head: Head) -> str:
    if head.codes and head.codes[0]:
        return "E" if head.codes[2] else "B"
    fields = "".join(letter for letter in FIELDS if letter not in head.seen and (letter != "K" or "M" in head.seen))
    fresh = not head.seen and head.codes is None
    return fields + ("SX" if fresh else "S" if head.seen == "X" and head.codes is None else "")


def _text_signs(value: str) -> frozenset[str]:
    if len(value) >= LONGEST_TEXT:
        return frozenset({""})
    return _WRITABLE - {" "} if not value else _WRITABLE if value.endswith(" ") else _WRITABLE | {""}


def end_line(head: Head, limits: Limits) -> Place:
    """The spot after a line of the header."""
    letter, value = head.text[0], head.text[2:].strip()
    after_line = head._replace(text="", seen=head.seen + letter)
    if letter == "S" and "" in after("S", value):
        return head._replace(text="", codes=(int(value), 1, 0))
    if letter in "BE" and head.codes and head.codes[0]:
        return head._replace(text="", codes=_told(head.codes, letter))
    if letter == "M":
        return after_line._replace(meter=value)
    if letter == "L":
        return after_line._replace(unit=value)
    return begin_music(head, value, limits) if letter == "K" else after_line


def _told(codes: tuple[int, int, int], letter: str) -> tuple[int, int, int]:
    sections, section, alike = codes
    if letter == "E":
        return sections, section, max(0, alike - 1)
    return (sections, section + 1, section) if section < sections else (0, 0, 0)


def begin_music(head: Head, key: str, limits: Limits) -> Spot:
    """The spot where the music begins."""
    meter = read_meter(head.meter) or Meter("none", None)
    unit: Fraction = read_unit(head.unit) or default_unit(meter)
    return with_key(Spot(new_room(unit, meter)), key, limits)


def with_key(spot: Spot, text: str, limits: Limits) -> Spot:
    """The spot in another key; only limits of pitch look at it."""
    if not follows_keys(limits):
        return spot
    key = read_key(text) or Key()
    altered = spot.altered or (None,) * len(STEPS)
    return spot.but(signature=tuple(key.alter(step) for step in STEPS), altered=altered)
