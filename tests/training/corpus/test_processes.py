"""A file that hangs or kills its process costs itself, and nobody else."""

import os
import time

from rwkv_music_training.corpus import items, processes
from rwkv_music_training.corpus.items import MIDI, Item, LeftOut
from rwkv_music_training.corpus.preparing import Preparation


def stand_in(batch, how, read):
    """For a parser that hangs, dies or fails."""
    for item in batch:
        if item.content == b"hang":
            time.sleep(60)
        if item.content == b"die":
            os._exit(7)
        if item.content == b"fail":
            raise KeyError("of this file")
        read()
    if any(item.content == b"die at last" for item in batch):
        os._exit(8)
    return [item.left_out("fine") for item in batch]


def test_only_the_file_that_is_to_blame_is_lost(monkeypatch):
    # Forked, so that the processes see the stand-in.
    monkeypatch.setattr(processes, "prepare", stand_in)
    monkeypatch.setattr(processes, "START", "fork")
    contents = [b"a", b"die", b"b", b"hang", b"c", b"fail", b"d", b"die at last", b"e"]
    files: list[Item | LeftOut] = [Item((0, place), str(place), MIDI, one) for place, one in enumerate(contents)]
    files.insert(3, LeftOut((1, 0), "left", "", items.TOO_LARGE))
    with processes.Workers(Preparation(), processes=2, seconds=1.5) as workers:
        done = [one for some in workers.prepare(files) for one in some]
        again = [one for some in workers.prepare(files[:1]) for one in some]
    assert [one.reason for one in again if isinstance(one, LeftOut)] == ["fine"] and len(done) == 10
    found = {one.name: (one.reason, one.detail) for one in done if isinstance(one, LeftOut)}
    assert found == {
        **dict.fromkeys("02468", ("fine", "")),
        "left": (items.TOO_LARGE, ""),
        "1": (items.BROKE_THE_PARSER, "exit code 7"),
        "3": (items.TOOK_TOO_LONG, "more than 1.5 s"),
        "7": (items.BROKE_THE_PARSER, "exit code 8"),
        "5": (items.BROKE_THE_PARSER, "KeyError: 'of this file'"),
    }
