"""What each id of a document is: a pitch, a length, a bar line and so on, by code."""

import re
from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.abc_lexer import lex
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, FIRST_WAIT
from rwkv_music_tokenizers.note_vocabulary import EOS, FIELD, NAMES
from rwkv_music_tokenizers.note_vocabulary import SIZE as NOTES_SIZE
from rwkv_music_tokenizers.remi_vocabulary import WORDS

ABC = AbcTokenizer()
# Kinds of characters of ABC; the first is what ends a tune.
ABC_KINDS = ("end", "header", "field", "pitch", "rest", "length", "bar line", "line or space", "chord symbol", "other")
# What the lexer of ABC calls its words.
_OF_TOKEN = {
    "inline": "field",
    "field": "field",
    "bar": "bar line",
    "ending": "bar line",
    "newline": "line or space",
    "space": "line or space",
    "continuation": "line or space",
    "broken": "length",
    "tuplet": "length",
    "symbol": "chord symbol",
}
_LETTERS = re.compile(r"[^0-9/]*")
# Words of REMI as the tables of other codes call them.
_REMI = {"EOS": "end", "PitchDrum": "drum"}


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kinds of the ids of one document."""

    names: tuple[str, ...]
    # (n,): which of the names each id has.
    places: np.ndarray
    # (n,) bool: where a note is struck.
    notes: np.ndarray


def body_start(text: str) -> int:
    """Where the music of a tune begins: the place after the line of the first K: field."""
    at = 0 if text.startswith("K:") else text.find("\nK:") + 1
    end = text.find("\n", at)
    return end + 1 if text.startswith("K:", at) and end >= 0 else 0


def kinds_of(ids: np.ndarray, language: str, vocabulary: int) -> Kinds:
    """What each id (n,) of a document of a code is; of an unknown code all are tokens."""
    if language == ABC.name:
        return _abc(ids)
    if language == "notes":
        return _fields(ids, *_NOTES)
    if language == "remi":
        return _fields(ids, *_table([_remi_kind(word) for word in WORDS]))
    if language in ("midi", "midipiano"):
        levels = {"midi": 12, "midipiano": 16}[language]
        return _fields(ids, *_table([_word_kind(token, levels) for token in range(vocabulary)]))
    return Kinds(("token",), np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=bool))


def _abc(ids: np.ndarray) -> Kinds:
    codes = np.asarray(ids)
    text = "".join(map(chr, codes.tolist()))
    shown = np.flatnonzero(codes > ABC.eos)
    music = ABC.decode(codes.tolist())
    numbers = {name: number for number, name in enumerate(ABC_KINDS)}
    places, notes = np.full(len(music), numbers["other"]), np.zeros(len(music), dtype=bool)
    start = body_start(music)
    places[:start] = numbers["header"]
    for token in lex(music):
        if token.start < start:
            continue
        if token.kind in ("note", "rest"):
            head = _LETTERS.match(token.text)
            middle = token.start + (head.end() if head else 0)
            places[token.start : middle] = numbers["pitch" if token.kind == "note" else "rest"]
            places[middle : token.end] = numbers["length"]
            notes[token.start] = token.kind == "note"
        else:
            places[token.start : token.end] = numbers[_OF_TOKEN.get(token.kind, "other")]
    whole, struck = np.zeros(len(text), dtype=np.int64), np.zeros(len(text), dtype=bool)
    whole[shown], struck[shown] = places, notes
    return Kinds(ABC_KINDS, whole, struck)


def _table(told: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The different kinds in order of appearance, and the place of each id's among them."""
    names = tuple(dict.fromkeys(told))
    return names, np.array([names.index(one) for one in told])


def _note_kind(token: int) -> str:
    name = NAMES[token].partition(":")[0]
    return "end" if token == EOS else "special" if name.startswith("<") else name


def _remi_kind(word: str) -> str:
    name = word.rpartition("_")[0].partition("_")[0]
    return _REMI.get(name, "special" if name.isupper() else name.lower())


def _word_kind(token: int, levels: int) -> str:
    if token < FIRST_WAIT:
        return "end"
    if token < FIRST_NOTE:
        return "wait"
    return "pitch" if (token - FIRST_NOTE) % levels else "release"


_NOTES = _table([_note_kind(token) for token in range(NOTES_SIZE)])
assert len(FIELD) == NOTES_SIZE


def _fields(ids: np.ndarray, names: tuple[str, ...], table: np.ndarray) -> Kinds:
    places = table[np.asarray(ids, dtype=np.int64)]
    struck = np.isin(places, [place for place, name in enumerate(names) if name in ("pitch", "drum")])
    return Kinds(names, places, struck)
