"""What a piece of 1,000 bars costs the studio's server: to begin, until the first bar, and to look at while it grows.

    python benchmarks/studio_long.py --bars 1000 --looks 10

Without a browser. Prints JSON; seconds of CPU of the whole process (begin, first_bar) and milliseconds of CPU of one
thread (looks).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from long_tune import long_abc

from rwkv_music.works import Tune
from rwkv_music_app.models import Models
from rwkv_music_app.studio import Studio
from rwkv_music_app.views import View
from rwkv_music_app.wants import Begin, GoOn


def measured(studio: Studio, begin: Begin, looks: int) -> dict[str, Any]:
    """Of one piece."""
    started = time.process_time()
    sitting = studio.begin("somebody", begin)
    begun = time.process_time()
    growth = studio.go_on("somebody", sitting.name, GoOn(bars=8, seed=1))
    while growth.job.events.get().kind not in ("bar", "done"):
        pass
    first_bar = time.process_time()
    growth.job.settled.wait()
    piece, bits, view = growth.takes[0].piece, sitting.surprised(1), View()
    times: dict[bool, list[float]] = {False: [], True: []}
    for length in range(piece.length - looks, piece.length):
        earlier = piece.back_to(length)
        for sheet, told in times.items():
            look = time.thread_time()
            view.update(earlier, bits, sheet)
            told.append(1000 * (time.thread_time() - look))
    return {
        "begin_s": round(begun - started, 2),
        "first_bar_s": round(first_bar - started, 2),
        # The first look reads everything.
        "first_look_ms": round(times[False][0]),
        "notes_ms": round(statistics.median(times[False])),
        # What the sheet takes besides; that of a tune is its text, which comes with its notes.
        "sheet_ms": round(statistics.median(times[True])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=1000)
    parser.add_argument("--looks", type=int, default=10)
    args = parser.parse_args()
    abc, models, told = long_abc(args.bars), Models(rows=4), {}
    begins = {"abc": Begin(text=abc), "midi": Begin(content=Tune(abc).midi(), name="long.mid")}
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder), models)
        for kind, begin in begins.items():
            told[kind] = measured(studio, begin, args.looks)
        studio.close()
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
