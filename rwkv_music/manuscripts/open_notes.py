"""How a performance, or nothing but wishes, opens a piece in notes."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from rwkv_music.errors import UsageError, UserError
from rwkv_music.instruments import read_instruments
from rwkv_music.manuscripts.notes import PROMPT_LIMIT, TOKENIZER, NotesManuscript
from rwkv_music.manuscripts.wishes import NO_WISHES, Wishes
from rwkv_music_tokenizers.abc_fields import read_key, read_meter, read_tempo
from rwkv_music_tokenizers.midi_writer import MINOR_MODES
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.performance import Performance, Track, rows

TICKS = 480


def open_notes(played: Performance | None = None, wishes: Wishes = NO_WISHES) -> NotesManuscript:
    """The manuscript that goes on from a performance, or begins a piece. Raises UserError for wishes that are none."""
    if wishes.header.rhythm or wishes.header.unit:
        raise UsageError("--rhythm and --unit are fields of ABC; a model of notes takes --key, --meter and --tempo")
    named = wishes.instruments or wishes.only
    kind, programs = read_instruments(named) if named else ("", ())
    begun = played is not None and played.count > 0
    piece = played if played is not None else Performance((), TICKS)
    if begun and wishes.prompt_bars is not None:
        piece = first_bars(piece, wishes.prompt_bars)
    piece = _with_header(piece, wishes)
    silent = tuple(Track(rows([], 4), program or 0, drums=program is None) for program in programs)
    piece = replace(piece, tracks=(*piece.tracks, *(silent if begun else silent or (Track(rows([], 4)),))))
    options = NoteOptions(clock="auto" if begun else "grid", kind=kind, silent=bool(silent) or not begun)
    ids = tuple(int(token) for token in TOKENIZER.encode(piece, options))[:-1]
    if len(ids) > PROMPT_LIMIT:
        raise UserError(f"the prompt is {len(ids):,} tokens; at most {PROMPT_LIMIT:,} can be heard (--prompt-bars)")
    return NotesManuscript(ids, wishes.header.title or piece.title)


def first_bars(piece: Performance, bars: int) -> Performance:
    """The beginning of a piece: so many bars by its meters. Notes that last longer end with the last of them."""
    return piece.until(_bar_ends(piece, bars))


def _bar_ends(piece: Performance, bars: int) -> int:
    """The tick at which bar `bars` ends, counted from 1."""
    place, number = Fraction(0), 0
    meters: Sequence[Sequence[int]] = piece.meters.tolist()
    while bars:
        while number + 1 < len(meters) and meters[number + 1][0] <= place:
            number += 1
        _, beats, beat = meters[number]
        place += Fraction(4 * beats * piece.ticks, beat)
        bars -= 1
    return int(place)


def _with_header(piece: Performance, wishes: Wishes) -> Performance:
    """The piece with the key, meter and tempo that are wished for from its beginning to its end."""
    header = wishes.header
    if header.key and (key := read_key(header.key)) is not None:
        piece = replace(piece, keys=rows([(0, key.fifths, int(key.mode in MINOR_MODES))], 3))
    if header.meter and (meter := read_meter(header.meter)) is not None:
        if meter.bar is None:
            raise UserError("--meter: music in notes has a meter (4/4, 6/8, ...)")
        piece = replace(piece, meters=rows([(0, *_beats(header.meter, meter.bar))], 3))
    if header.tempo:
        tempo = read_tempo(f"1/4={header.tempo}" if header.tempo.isdecimal() else header.tempo, Fraction(1, 2))
        if tempo is not None and tempo.bpm is not None:
            piece = replace(piece, tempos=rows([(0, round(60_000_000 / (tempo.bpm * tempo.beat)))], 2))
    return piece


def _beats(text: str, bar: Fraction) -> tuple[int, int]:
    """Beats and the note of a beat of a meter as it is written: "6/8" is 6, 8, "C" is 4, 4."""
    over, _, under = text.partition("/")
    if over.isdecimal() and under.isdecimal():
        return int(over), int(under)
    beat = next(beat for beat in (2, 4, 8, 16, 32) if (bar * beat / 4).denominator == 1)
    return int(bar * beat / 4), max(beat, 4) if text.strip() == "C" else beat
