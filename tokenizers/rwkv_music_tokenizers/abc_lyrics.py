"""Lines that are aligned with the notes above them: w: lyrics and s: symbols."""

import re
from collections.abc import Iterable, Iterator

from rwkv_music_tokenizers.abc_draft import Draft
from rwkv_music_tokenizers.abc_text import plain
from rwkv_music_tokenizers.score import Syllable

MOST_VERSES = 32

# A sign of its own, or a syllable with the hyphen that joins it to the next.
LYRIC = re.compile(r"([|*_-])|((?:\\.|[^\s|*_\\-])+)(-?)")
SYMBOL = re.compile(r'([|*])|(!)([^\s!|\[\]":]{1,40})!|(")([^"]*)"?|([.~H-Wh-w])')


class Singers:
    """Walks along the notes of a line, bar by bar. `notes` holds the notes in order and None at every bar line."""

    def __init__(self, notes: list[Draft | None]):
        self._notes = notes
        self._at = 0

    def next(self) -> Draft | None:
        """The next note; None when the line has no more."""
        while self._at < len(self._notes):
            note = self._notes[self._at]
            self._at += 1
            if note is not None:
                return note
        return None

    def next_bar(self) -> None:
        """Skip what is left of the bar."""
        while self._at < len(self._notes):
            self._at += 1
            if self._notes[self._at - 1] is None:
                return


def syllables(text: str) -> Iterator[Syllable | str | None]:
    """The syllables of a w: line, None for a skipped note, "|" for the next bar."""
    for sign, word, hyphen in LYRIC.findall(text):
        if word:
            yield Syllable(plain(word).replace("\\-", "-").replace("~", " "), joined=bool(hyphen))
        elif sign == "|":
            yield "|"
        elif sign == "*":
            yield None
        else:
            yield Syllable("", joined=sign == "-", held=True)


def sing(notes: list[Draft | None], text: str, verse: int) -> bool:
    """Put a w: line under the notes as verse number `verse` (from 0); False when it has more syllables than notes."""
    singers = Singers(notes)
    for syllable in syllables(text):
        if isinstance(syllable, str):
            singers.next_bar()
            continue
        note = singers.next()
        if note is None:
            return False
        if syllable is not None:
            note.lyrics = (*note.lyrics, *[None] * (verse - len(note.lyrics)), syllable)
    return True


def aligned_symbols(notes: list[Draft | None], text: str) -> Iterable[tuple[Draft, str]]:
    """What an s: line puts on its notes, as (note, symbol): "!name!", a quoted text or a short decoration."""
    singers = Singers(notes)
    for match in SYMBOL.finditer(text):
        if match[1] == "|":
            singers.next_bar()
            continue
        note = singers.next()
        if note is None:
            return
        if match[1] is None:
            yield note, match[0]
