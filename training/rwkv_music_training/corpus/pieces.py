"""A piece out of the bytes of a file: as it is written, as it is played, and as ABC where the code is ABC."""

from dataclasses import dataclass

from rwkv_music.errors import UserError
from rwkv_music.reading.musicxml import checked_musicxml
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.abc_tokens import training_text
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.score import Score
from rwkv_music_tokenizers.score_of_performance import score_of_performance
from rwkv_music_tokenizers.symusic_scores import from_symusic
from rwkv_music_training.corpus import items
from rwkv_music_training.corpus.items import ABC, MIDI, Item
from rwkv_music_training.corpus.melody import melody_of

# Of one tune in ABC, in characters.
MOST_TEXT = 256 << 10


class Unfit(Exception):
    """A piece that does not come into the corpus: one of `items.REASONS`, and what exactly."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, eq=False)
class Piece:
    """What a file holds. `score` is None for music that was only played; `performance` and `text` as far as wanted."""

    score: Score | None = None
    performance: Performance | None = None
    # As models of ABC learn it.
    text: str = ""


def written_piece(item: Item, melody: bool = False) -> Piece:
    """A piece with its ABC; with `melody` the melody alone of what was played. Raises Unfit."""
    if item.form == ABC:
        text = training_text(_text(item))
    elif item.form == MIDI:
        played = _performance(item.content)
        text = training_text(write_abc(_transcribed(melody_of(played) if melody else played)))
    else:
        text = training_text(write_abc(_musicxml(item.content)))
    return Piece(_score(text), text=text)


def played_piece(item: Item) -> Piece:
    """A piece with its performance. Raises Unfit."""
    if item.form == MIDI:
        return Piece(performance=_performance(item.content))
    score = _score(_text(item)) if item.form == ABC else _musicxml(item.content)
    try:
        return Piece(score, _performance(write_midi(score)))
    except NotationError as error:
        raise Unfit(items.NOT_READABLE, str(error)) from None


def _text(item: Item) -> str:
    text = item.content.decode("utf-8", "replace")
    if len(text) > MOST_TEXT:
        raise Unfit(items.TOO_LARGE, f"a tune of {len(text):,} characters")
    return text


def _score(text: str) -> Score:
    try:
        score = read_abc(text)
    except NotationError as error:
        raise Unfit(items.NOT_READABLE, str(error)) from None
    if not any(bar.events for part in score.parts for bar in part.bars):
        raise Unfit(items.NOT_READABLE, "no music in it")
    return score


def _performance(content: bytes) -> Performance:
    from symusic import Score as Columns

    try:
        performance = from_symusic(Columns.from_midi(content))
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise Unfit(items.NOT_READABLE, f"not as MIDI: {error}") from None
    if not performance.count:
        raise Unfit(items.NOT_READABLE, "no note sounds in it")
    return performance


def _transcribed(performance: Performance) -> Score:
    if len(performance.tracks) > 1 or any(track.drums for track in performance.tracks):
        raise Unfit(items.SEVERAL_PARTS)
    try:
        return score_of_performance(performance).score
    except NotationError as error:
        raise Unfit(items.NOT_READABLE, str(error)) from None


def _musicxml(content: bytes) -> Score:
    # Only here: it needs music21. The process that this runs in is one that may be lost.
    from rwkv_music.reading.parse import parse_musicxml

    try:
        return parse_musicxml(checked_musicxml(content))
    except (UserError, NotationError) as error:
        raise Unfit(items.NOT_READABLE, str(error)) from None
