"""Steps from note to note know no key and no resolution."""

import numpy as np

from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_training.judging.copying import FIRST_SYMBOL, longest_shared
from rwkv_music_training.judging.steps import INTERVALS, LONGEST_TIME, steps


def piece(*notes: tuple[int, int, int], drums: bool = False) -> Performance:
    """Start, end and pitch of notes, 480 ticks a quarter, 120 quarters a minute."""
    return Performance((Track(rows([(*note, 64) for note in notes], 4), drums=drums),), 480)


def test_drums_and_silence_have_no_steps():
    for performance in (piece((0, 480, 36), drums=True), Performance((), 480)):
        assert len(steps(performance)) == 0


def test_steps_are_the_same_in_every_key_and_at_every_resolution():
    notes = [(0, 100, 60), (240, 300, 64), (240, 300, 55), (960, 1000, 72)]
    moved = [(start, end, pitch + 5) for start, end, pitch in notes]
    finer = Performance((Track(rows([(2 * s, 2 * e, p, 64) for s, e, p in notes], 4)),), 960)
    expected = [FIRST_SYMBOL + INTERVALS * time + 128 + up for time, up in ((12, -5), (0, 9), (36, 8))]
    for performance in (piece(*notes), piece(*moved), finer):
        assert steps(performance).tolist() == expected


def test_the_longest_steps_still_fit():
    symbols = steps(piece((0, 10, 0), (480_000, 480_010, 127), (480_000 * 2, 480_000 * 2 + 1, 0)))
    assert symbols.tolist() == [FIRST_SYMBOL + INTERVALS * LONGEST_TIME + 128 + up for up in (127, -127)]
    assert symbols.dtype == np.uint16


def test_a_theme_is_found_in_another_key():
    theme = [(120 * place, 120 * place + 100, pitch) for place, pitch in enumerate((60, 64, 62, 67, 65, 71, 72))]
    elsewhere = [(0, 20, 40), *((start + 1000, end + 1000, pitch + 3) for start, end, pitch in theme)]
    (found,) = longest_shared([steps(piece(*theme))], [steps(piece((0, 1, 2), (3, 4, 5))), steps(piece(*elsewhere))])
    assert (found.length, found.whole, found.source) == (6, 6, 1)
