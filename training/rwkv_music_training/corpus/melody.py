"""The melody of music in several parts: one line, of which each note is the highest that begins then."""

from dataclasses import replace

import numpy as np

from rwkv_music_tokenizers.performance import END, PITCH, START, Performance, rows

# A note that begins so many semitones or more below one that still sounds belongs to its accompaniment.
ACCOMPANIES = 5


def melody_of(performance: Performance) -> Performance:
    """The performance with its melody alone: of the first part that is not drums the upper line, no two notes at once.

    Scores of songs and of chamber music write the leading part first; of keyboard music all is one part.
    """
    leading = next((track for track in performance.tracks if len(track.notes) and not track.drums), None)
    kept = () if leading is None else (replace(leading, notes=upper_line(leading.notes), pedals=rows([], 2)),)
    return replace(performance, tracks=kept)


def upper_line(notes: np.ndarray) -> np.ndarray:
    """Of notes (n, 4) as `Track` has them those of the upper line, (m, 4); each ends where the next begins at the latest."""
    order = np.lexsort((-notes[:, PITCH], notes[:, START]))
    line: list[np.ndarray] = []
    for note in notes[order]:
        before = line[-1] if line else None
        if before is not None and note[START] == before[START]:
            continue
        if before is not None and note[START] < before[END]:
            if before[PITCH] - note[PITCH] >= ACCOMPANIES:
                continue
            before[END] = note[START]
        line.append(note.copy())
    return rows(line, notes.shape[1])
