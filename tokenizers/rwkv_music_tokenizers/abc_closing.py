"""What still may follow where a piece has to end: what fills the bar, then the signs that close it."""

from collections.abc import Mapping

from rwkv_music_tokenizers.abc_next_lines import FINAL, hangs, made_up, may_stand
from rwkv_music_tokenizers.abc_next_music import EOS
from rwkv_music_tokenizers.abc_spot import Ended, Head, Place, Spot

# What the end of a bar does not need: it begins something new, or only adorns.
SPARED = frozenset(' \n"!~.{(-<>ZTHLMOPSuv')
SIGNS_OF_LINES = frozenset("|:")
# Words that may go on although they are complete, because it is their length that fills the bar.
LENGTHS = frozenset({"note", "rest", "close"})
HEADER_NEEDS = frozenset("BELMK")


def closing(place: Place, grown: Mapping[str, Place], begun: Mapping[str, Place], settled: Spot | None) -> set[str]:
    """The signs of `grown` (they carry the word being written on) and `begun` (they follow it) that lead to the end.

    `settled` is the spot after that word, None where it is not complete.
    """
    if isinstance(place, Head):
        return _closing_head(place, set(grown))
    if isinstance(place, Ended):
        return set()
    if settled is None or place.mode == "bar":
        ahead = _closing_word(place, settled, set(grown))
        if ahead or settled is None:
            return ahead or set(grown)
    if EOS in begun:
        return {EOS}
    if _is_over(settled):
        return {"\n"}
    more = set(grown) if place.mode in LENGTHS else set()
    if settled.graces >= 0 or settled.chord is not None:
        end = {"}", "]"} & set(begun)
        return end or more | set(begun)
    last = _last_signs(settled, begun)
    if last:
        return last
    return more | _needed(set(begun))


def _closing_head(head: Head, grown: set[str]) -> set[str]:
    if not head.text:
        return grown & HEADER_NEEDS
    return {"\n"} if "\n" in grown and head.text[0] not in HEADER_NEEDS else grown


def _closing_word(spot: Spot, settled: Spot | None, grown: set[str]) -> set[str]:
    """What a word that is not complete needs, and what makes the last bar line of the one being written."""
    if spot.mode != "bar":
        return grown & {'"', "!"} or (grown & {"2"} if spot.ending < 0 else grown - {"["})
    if spot.text == "|" and "]" in grown:
        return {"]"}
    return grown & {"|"} or grown if settled is None else set()


def _is_over(spot: Spot) -> bool:
    """Nothing but the end of the line of text has to come."""
    return spot.line in FINAL and not (spot.repeat or spot.ending < 0 or spot.blank or spot.hangs)


def _last_signs(spot: Spot, begun: Mapping[str, Place]) -> set[str]:
    """What follows a bar that may be the last."""
    if not spot.sounds or spot.owed or not (spot.room.whole or made_up(spot)) or hangs(spot):
        return set()
    if spot.slurs and ")" in begun:
        return {")"}
    signs = {line[0] for line in (":|", "|]") if may_stand(spot, line)}
    return signs or ({"|"} & set(begun) if spot.room.whole else set())


def _needed(begun: set[str]) -> set[str]:
    return begun - SPARED - SIGNS_OF_LINES - {"["} or begun & {"["} or begun - {" "}
