"""Documents read in another key, at another tempo, louder or softer: as good music as they were, and as canonical."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import permutations

import numpy as np

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.midi_words import FIRST_NOTE, PITCHES, MidiWords
from rwkv_music_tokenizers.note_options import NoteOptions
from rwkv_music_tokenizers.note_tokens import NoteTokenizer, range_of, transposed
from rwkv_music_tokenizers.note_vocabulary import (
    DRUM,
    FIELD,
    FIRST_VELOCITY,
    KINDS,
    PART,
    PERF,
    PITCH,
    PLACE,
    TEMPO,
    TEMPOS,
    VELOCITIES,
    VELOCITY,
)
from rwkv_music_tokenizers.performance import Performance, rows
from rwkv_music_tokenizers.performance_to_words import performance_to_words
from rwkv_music_tokenizers.restating import restate_lines
from rwkv_music_tokenizers.tonal import exchange_notes, move_along_scale, moves_along_scale
from rwkv_music_tokenizers.transpose import SHIFTS, singable_shifts, transpose_abc
from rwkv_music_tokenizers.words_to_performance import words_to_performance
from rwkv_music_training.corpus.codes import ABC_CODE, NOTES_CODE, Code, words_of
from rwkv_music_training.corpus.documents import Augment

# The marks of a metronome stand about this far apart.
TEMPO_STEP = 1.05
# Where the clock and the kind of piece stand in a document of notes.
CLOCK_PLACE, KIND_PLACE = 1, 2
# Every order of the seven notes of a scale; the first leaves them as they are.
_ORDERS = tuple(permutations(range(7)))


@dataclass(frozen=True)
class Augmentation:
    """How documents are read anew."""

    # The shares of readings in another key (a tritone down to a fourth up), tempo, and loudness. ABC has only keys.
    transposed: float = 0.8
    retimed: float = 0.5
    reloud: float = 0.5
    # At most so many steps of the metronome faster or slower (5 % each), and of loudness (8 of 127) up or down.
    tempo_steps: int = 3
    loudness_steps: int = 2
    # The share of tunes in ABC that are moved along their scale into another mode first: tunes that nobody wrote, with
    # the form and the rhythm of one.
    tonal: float = 0.0
    # The share of the other tunes in ABC whose notes change names among each other: only what repeats can be foretold.
    exchanged: float = 0.0
    # The share of readings of ABC that are read twice in a row: all of the second can be foretold by who remembers.
    repeated: float = 0.0
    # The share of readings of ABC in which lines of music come back further on, once or twice.
    restated: float = 0.0


@dataclass(frozen=True)
class _Choice:
    """What a generator chose: seven numbers in 0..1 that say whether, and seven that say how far."""

    whether: np.ndarray
    how_far: np.ndarray

    def one_of(self, place: int, share: float, steps: Sequence[int]) -> int:
        """One of some steps, 0 where nothing is to change or there are none."""
        if not steps or self.whether[place] >= share:
            return 0
        return steps[int(self.how_far[place] * len(steps))]


def augmenting(code: Code, how: Augmentation) -> Augment:
    """What reads the documents of a code anew, each as a pure function of its ids and the generator."""
    read = {ABC_CODE: _abc, NOTES_CODE: _notes}.get(code.name) or partial(_words, words_of(code.name))

    def augment(ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        # Those from the fourth on are drawn by themselves, so that those before are what they always were.
        drawn = np.hstack([draw.random((2, 3)), *(draw.random((2, 1)) for _ in range(4))])
        return read(ids, how, _Choice(*drawn)).astype(np.int64)

    return augment


def _steps(most: int) -> list[int]:
    return [step for step in range(-most, most + 1) if step]


def _abc(ids: np.ndarray, how: Augmentation, choice: _Choice) -> np.ndarray:
    code = AbcTokenizer()
    text = written = code.decode(ids.tolist())
    steps = choice.one_of(3, how.tonal, list(_moves(text)) if how.tonal else [])
    text = move_along_scale(text, steps) if steps else text
    order = 0 if steps else choice.one_of(4, how.exchanged, range(1, len(_ORDERS)))
    text = exchange_notes(text, _ORDERS[order]) if order else text
    shift = choice.one_of(0, how.transposed, [shift for shift in _shifts(text) if shift])
    text = transpose_abc(text, shift) if shift else text
    text = restate_lines(text, choice.how_far[6]) if choice.whether[6] < how.restated else text
    ids = ids if text == written else np.array(code.document(text))
    return np.tile(ids, 2) if choice.whether[5] < how.repeated else ids


@lru_cache(maxsize=1 << 15)
def _shifts(text: str) -> tuple[int, ...]:
    return singable_shifts(text)


@lru_cache(maxsize=1 << 15)
def _moves(text: str) -> tuple[int, ...]:
    return moves_along_scale(text)


def _notes(ids: np.ndarray, how: Augmentation, choice: _Choice) -> np.ndarray:
    low, high = range_of(ids)
    shift = choice.one_of(
        0, how.transposed, [step for step in SHIFTS if step and low + step >= 0 and high + step < 128]
    )
    if shift:
        ids = transposed(ids, shift).astype(np.int64)
    ids = _retimed_notes(ids, choice.one_of(1, how.retimed, _steps(how.tempo_steps)))
    return _louder_notes(ids, choice, how)


def _retimed_notes(ids: np.ndarray, steps: int) -> np.ndarray:
    """A document of notes so many steps faster; as far as its tempos go, on the grid."""
    if not steps:
        return ids
    if ids[CLOCK_PLACE] == PERF:
        kind = KINDS[int(PLACE[ids[KIND_PLACE]])] if PLACE[ids[KIND_PLACE]] < len(KINDS) else ""
        retimed = _faster(NoteTokenizer().decode(ids), steps)
        return NoteTokenizer().encode(retimed, NoteOptions(clock="perf", kind=kind)).astype(np.int64)
    tempos = FIELD[ids] == TEMPO
    places = PLACE[ids[tempos]] + steps
    if not len(places) or places.min() < 0 or places.max() >= len(TEMPOS):
        return ids
    return np.where(tempos, ids + steps, ids)


def _faster(performance: Performance, steps: int) -> Performance:
    tempos = performance.tempos.astype(np.float64)
    tempos[:, 1] = np.maximum(1, np.round(tempos[:, 1] / TEMPO_STEP**steps))
    return replace(performance, tempos=rows(tempos, 2))


def _louder_notes(ids: np.ndarray, choice: _Choice, how: Augmentation) -> np.ndarray:
    """A document of notes so much louder that none leaves the scale.

    A part's first velocity goes unsaid where it is FIRST_VELOCITY, and only there; so what parts say at first changes.
    """
    kinds = FIELD[ids]
    notes = np.flatnonzero((kinds == PITCH) | (kinds == DRUM))
    said = np.flatnonzero(kinds == VELOCITY)
    if not len(notes):
        return ids
    named = np.flatnonzero(kinds == PART)
    owners = ids[named[np.searchsorted(named, notes) - 1]]
    first = notes[np.unique(owners, return_index=True)[1]]
    unsaid = first[kinds[first - 1] != VELOCITY]
    heard = np.append(PLACE[ids[said]], [FIRST_VELOCITY] * bool(len(unsaid)))
    lowest, highest = int(heard.min(initial=FIRST_VELOCITY)), int(heard.max(initial=FIRST_VELOCITY))
    steps = [step for step in _steps(how.loudness_steps) if lowest + step >= 1 and highest + step < len(VELOCITIES)]
    step = choice.one_of(2, how.reloud, steps)
    if not step:
        return ids
    louder = np.where(kinds == VELOCITY, ids + step, ids)
    usual = VELOCITY + FIRST_VELOCITY
    kept = np.ones(len(ids), dtype=bool)
    kept[first[(kinds[first - 1] == VELOCITY) & (louder[first - 1] == usual)] - 1] = False
    longer = np.insert(louder, unsaid, usual + step)
    return longer[np.insert(kept, unsaid, True)]


def _words(words: MidiWords, ids: np.ndarray, how: Augmentation, choice: _Choice) -> np.ndarray:
    steps = choice.one_of(1, how.retimed, _steps(how.tempo_steps))
    if steps:
        faster = _faster(words_to_performance(ids[1:-1].tolist(), words), steps)
        ids = np.array([words.bos, *performance_to_words(faster, words), words.eos])
    notes = ids >= FIRST_NOTE
    keys, levels = np.divmod(ids - FIRST_NOTE, words.levels)
    instruments, pitches = np.divmod(keys, PITCHES)
    moves = notes & (instruments != words.percussion)
    low, high = pitches[moves].min(initial=127), pitches[moves].max(initial=0)
    shifts = [step for step in SHIFTS if step and low + step >= 0 and high + step < PITCHES]
    shift = choice.one_of(0, how.transposed, shifts)
    struck = notes & (levels > 0)
    softest, loudest = levels[struck].min(initial=words.levels), levels[struck].max(initial=0)
    louds = [step for step in _steps(how.loudness_steps) if softest + step >= 1 and loudest + step < words.levels]
    return ids + moves * (shift * words.levels) + struck * choice.one_of(2, how.reloud, louds)
