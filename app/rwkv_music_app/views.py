"""A take as it is shown: notes, bars and sheet, every version told as what it changes in the one before."""

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rwkv_music.compose import Piece
from rwkv_music.errors import UserError
from rwkv_music.works import Tune, Work
from rwkv_music_app.measures import Measure, Span, measures, spans_of
from rwkv_music_app.playing_on import PlayingOn
from rwkv_music_app.windows import Window, windows
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.unfold import unfold

# A note as it is sent: start and length in ms, pitch, velocity, place of its voice.
Note = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Shown:
    """Everything there is to see of a take."""

    notes: tuple[Note, ...] = ()
    # (General MIDI program, drums) of each voice.
    voices: tuple[tuple[int, bool], ...] = ()
    measures: tuple[Measure, ...] = ()
    # A tune's text is its sheet.
    abc: str = ""
    # The sheet of a performance: what a reader would write down of it.
    windows: tuple[Window, ...] = ()
    approximate: bool = False
    # Why it is no newer than it is.
    trouble: str = ""


class View:
    """A take, and the versions in which it was shown; any older one is brought up to date by what changed since."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.version = 0
        self.shown = Shown()
        # Of each version but the first: how many notes, bars, characters and windows it left as they were.
        self._left: list[tuple[int, int, int, int]] = []
        # How far the piece had come when notes and sheet were last looked at: new tokens, whether it had ended, and bits.
        self._seen = self._written = (-1, False, 0)
        # What is read once and for all: the prompt's bars, and how the tune begins.
        self._prompt: tuple[Span, ...] = ()
        self._playing = PlayingOn()

    def update(self, piece: Piece, bits: np.ndarray, sheet: bool = True) -> bool:
        """Look at the piece again; whether there is anything new. sheet: also at its sheet, which takes longer."""
        come = piece.length, piece.ended, len(bits)
        with self.lock:
            if come == self._seen and (not sheet or come == self._written):
                return False
            now = self._look(piece, bits, sheet)
            self._seen = come
            # A tune's text comes with its notes.
            self._written = come if sheet or not now.approximate else self._written
            if now == self.shown:
                return False
            before, self.shown = self.shown, now
            self._left.append(
                (
                    _common(before.notes, now.notes),
                    _common(before.measures, now.measures),
                    _common(before.abc, now.abc),
                    _common(before.windows, now.windows),
                )
            )
            self.version += 1
            return True

    def _look(self, piece: Piece, bits: np.ndarray, sheet: bool) -> Shown:
        """The piece as it is now; what cannot be read yet stays as it was."""
        before = self.shown
        work = piece.work()
        self._prompt = self._prompt or spans_of(piece)
        try:
            unfolded = unfold(work.score) if isinstance(work, Tune) else None
            played = self._playing.play(work, unfolded) if isinstance(work, Tune) and unfolded else work.performance
            notes, voices = notes_of(played)
            found = tuple(measures(piece, unfolded, work, played, bits, self._prompt))
        except (UserError, NotationError) as error:
            text = _text(work) if not before.notes else before.abc
            return replace(before, abc=text, trouble=str(error)[:200])
        if isinstance(work, Tune):
            return Shown(notes, voices, found, work.abc)
        written, trouble = before.windows, before.trouble
        if sheet:
            try:
                written, trouble = windows(work), ""
            except NotationError as error:
                written, trouble = (), str(error)[:200]
        return Shown(notes, voices, found, "", written, True, trouble)

    def since(self, version: int) -> dict[str, Any]:
        """What changed after a version; everything after 0 and after one that never was."""
        with self.lock:
            version = version if 0 < version <= self.version else 0
            left = self._left[version:] if version else [(0, 0, 0, 0)]
            now = self.shown
            whole = (len(now.notes), len(now.measures), len(now.abc), len(now.windows))
            notes, bars, characters, sheet = (min(column) for column in zip(*left, whole, strict=True))
            return {
                "base": version,
                "version": self.version,
                "notes": {"from": notes, "new": now.notes[notes:]},
                "bars": {"from": bars, "new": [measure.plain() for measure in now.measures[bars:]]},
                "abc": {"from": characters, "new": now.abc[characters:]},
                "windows": {"from": sheet, "new": [window.plain() for window in now.windows[sheet:]]},
                "voices": now.voices,
                "approximate": now.approximate,
                "trouble": now.trouble,
            }


def _text(work: Work) -> str:
    return work.abc if isinstance(work, Tune) else ""


def notes_of(played: Performance) -> tuple[tuple[Note, ...], tuple[tuple[int, bool], ...]]:
    """Every note, in the order of their beginnings; and who plays."""
    voices = sorted({(track.program, track.drums) for track in played.tracks}, key=lambda voice: (voice[1], voice[0]))
    found: list[Note] = []
    for track in played.tracks:
        voice = voices.index((track.program, track.drums))
        starts, ends = (np.rint(played.seconds(track.notes[:, column]) * 1000).astype(int) for column in (0, 1))
        rows = zip(starts.tolist(), ends.tolist(), track.notes[:, 2:].tolist(), strict=True)
        found += [(start, max(1, end - start), pitch, loud, voice) for start, end, (pitch, loud) in rows]
    # By beginning and voice, so that what a new bar adds stands at the end.
    return tuple(sorted(found, key=lambda note: (note[0], note[4], note[2]))), tuple(voices)


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many of the first elements are the same."""
    if one == other[: len(one)]:
        return len(one)
    # By halves: what changes is near the end.
    return bisect_right(range(min(len(one), len(other))), 0, key=lambda n: one[: n + 1] != other[: n + 1])
