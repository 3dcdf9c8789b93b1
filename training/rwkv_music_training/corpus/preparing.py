"""From the bytes of some files to their documents and fingerprints: all that is done to a file by itself.

A pure function of the files, so that it may run in any process on any machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, MidiWords
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_to_words import left_out, performance_to_words
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.codes import ABC_CODE, NOTES_CODE, find_code, words_of
from rwkv_music_training.corpus.filters import Filters
from rwkv_music_training.corpus.fingerprints import Fingerprints, bands, fingerprints
from rwkv_music_training.corpus.items import Item, LeftOut
from rwkv_music_training.corpus.pieces import Piece, Unfit, played_piece, written_piece
from rwkv_music_training.corpus.sounding import Sounding, sounding_performance, sounding_score

Clock = Literal["auto", "grid", "perf"]
# A piece of which the code can say less than this share of the notes is left out.
LEAST_SAID = 0.5


@dataclass(frozen=True)
class Preparation:
    """What is made of every file."""

    code: str = NOTES_CODE
    # Of notes: bars and 1/24 quarters, or 10 ms as played, or whichever the piece is in.
    clock: Clock = "auto"
    filters: Filters = Filters()
    # Of ABC: the melody of MIDI files in several parts, which are left out otherwise.
    melody: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """A document, and all that is known of it."""

    item: Item
    # (n,) of the code's dtype.
    ids: np.ndarray
    notes: int
    seconds: float
    fingerprints: Fingerprints
    # (BANDS,) uint64.
    bands: np.ndarray


@dataclass(frozen=True, eq=False, slots=True)
class _Half:
    """A piece that has passed, and is not yet a document."""

    item: Item
    piece: Piece
    sounding: Sounding


def prepare(
    batch: Sequence[Item], how: Preparation, read: Callable[[], object] = lambda: None
) -> list[Prepared | LeftOut]:
    """What becomes of each of some files, in their order; `read` is called when one has been read."""
    outcomes: list[_Half | LeftOut] = []
    for item in batch:
        outcomes.append(_half(item, how))
        read()
    halves = [one for one in outcomes if isinstance(one, _Half)]
    documents = dict(zip((half.item.key for half in halves), _documents(halves, how), strict=True))
    finished = [one if isinstance(one, LeftOut) else _finish(one, documents[one.item.key], how) for one in outcomes]
    prepared = [one for one in finished if not isinstance(one, LeftOut)]
    signed = zip(prepared, bands([prints.shingles for _, _, prints in prepared]), strict=True)
    whole = {
        half.item.key: Prepared(_bare(half.item), ids, half.sounding.count, half.sounding.seconds, prints, signature)
        for (half, ids, prints), signature in signed
    }
    return [one if isinstance(one, LeftOut) else whole[one[0].item.key] for one in finished]


def _bare(item: Item) -> Item:
    """The item without its bytes, which are not needed any more."""
    return Item(item.key, item.name, item.form, b"", item.told)


def _half(item: Item, how: Preparation) -> _Half | LeftOut:
    try:
        if how.code == ABC_CODE:
            piece = written_piece(item, how.melody)
            assert piece.score is not None, "what is written has a score"
            sounding = sounding_score(piece.score)
        else:
            piece = played_piece(item)
            assert piece.performance is not None, "what is played has a performance"
            _check_said(piece.performance, how.code)
            sounding = sounding_performance(piece.performance)
        how.filters.check(sounding, piece.score)
    except Unfit as unfit:
        return item.left_out(unfit.reason, unfit.detail)
    except NotationError as error:
        return item.left_out(items.NOT_READABLE, str(error))
    return _Half(item, piece, sounding)


def _check_said(performance: Performance, code: str) -> None:
    """Raises Unfit where a code has no words for most of the notes."""
    if code == NOTES_CODE:
        return
    unsaid = sum(len(track.notes) for track in left_out(performance, words_of(code)))
    if unsaid > (1 - LEAST_SAID) * performance.count:
        raise Unfit(
            items.NOT_IN_CODE, f"{unsaid:,} of {performance.count:,} notes are of instruments that {code} lacks"
        )


def _documents(halves: Sequence[_Half], how: Preparation) -> list[np.ndarray | Unfit]:
    """The document of each piece, or why it has none."""
    if how.code == ABC_CODE:
        return [np.array(AbcTokenizer().document(half.piece.text), dtype=find_code(ABC_CODE).dtype) for half in halves]
    played = [half.piece.performance for half in halves if half.piece.performance is not None]
    if how.code == NOTES_CODE:
        return _notes(played, NoteOptions(clock=how.clock))
    return [_words(performance, words_of(how.code)) for performance in played]


def _notes(performances: Sequence[Performance], options: NoteOptions) -> list[np.ndarray | Unfit]:
    try:
        return [*NoteTokenizer().encode_many(performances, options)]
    except ValueError as error:
        # One of them is longer than a document can be: each by itself, to find which.
        if len(performances) == 1:
            return [Unfit(items.TOO_LONG, str(error))]
        return [document for performance in performances for document in _notes([performance], options)]


def _words(performance: Performance, words: MidiWords) -> np.ndarray | Unfit:
    try:
        ids = performance_to_words(performance, words)
    except ValueError as error:
        return Unfit(items.TOO_LONG, str(error))
    if not any(number >= FIRST_NOTE for number in ids):
        return Unfit(items.NOT_IN_CODE)
    return np.array([words.bos, *ids, words.eos], dtype=find_code(words.name).dtype)


def _finish(half: _Half, ids: np.ndarray | Unfit, how: Preparation) -> tuple[_Half, np.ndarray, Fingerprints] | LeftOut:
    try:
        if isinstance(ids, Unfit):
            raise ids
        how.filters.check_ids(len(ids))
    except Unfit as unfit:
        return half.item.left_out(unfit.reason, unfit.detail)
    return half, ids, fingerprints(half.item.content, half.sounding)
