"""What roll, sheet and player can be given: ABC, the bytes of a MIDI file, a work, a take, or an update of the studio's."""

import time
from typing import Any, TypeAlias

import numpy as np

from rwkv_music.music.take import Take
from rwkv_music.works import Played, Tune, Work
from rwkv_music_app.measures import Measure
from rwkv_music_app.views import notes_of
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.unfold import unfold

Music: TypeAlias = str | bytes | Work | Take | dict[str, Any] | None


def update_of(music: Music) -> dict[str, Any] | None:
    """The music as an update that shows it whole. Raises NotationError for what cannot be read."""
    if music is None or isinstance(music, dict):
        return music
    work = _work(music)
    played = work.performance
    notes, voices = notes_of(played)
    take = {
        "base": 0,
        "version": 1,
        "notes": {"from": 0, "new": notes},
        "bars": {"from": 0, "new": [bar.plain() for bar in _bars(work, played)]},
        "abc": {"from": 0, "new": work.abc},
        # Nobody but the studio engraves on the way; abcjs shows what a reader would write down.
        "windows": {"from": 0, "new": []},
        "voices": voices,
        "approximate": isinstance(work, Played),
        "trouble": "",
    }
    tree = {"current": 0, "title": "", "model": "", "redo": False, "growing": [], "takes": [TREE]}
    return {"session": str(time.time_ns()), "tree": tree, "takes": {"0": take}}


TREE = {"take": 0, "parent": None, "from": 0, "bars": 0, "seed": None, "kept": False, "ended": True, "growing": False}


def _work(music: str | bytes | Work | Take) -> Work:
    match music:
        case str():
            return Tune(music)
        case bytes():
            return Played(read_midi(music))
        case Take():
            return music.work
    return music


def _bars(work: Work, played: Any) -> list[Measure]:
    """Bars to look at; nothing goes on from them."""
    bars, ticks = unfold(work.score).parts[0].bars, [0.0]
    for bar in bars:
        ticks.append(ticks[-1] + float(bar.length * played.ticks))
    times = np.rint(played.seconds(np.array(ticks)) * 1000).astype(int).tolist()
    return [Measure(times[n], times[n + 1], None, None, None, n + 1) for n in range(len(bars))]
