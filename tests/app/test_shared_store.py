"""Processes that share a folder of sessions: no take is lost, nobody goes on from what is old."""

import subprocess
import sys
import time

import pytest

from rwkv_music_app.errors import GrowingError
from rwkv_music_app.shared_store import ChangedError, SharedStore
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.wants import Begin, GoOn, Wish

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\n|:GAB c2d|ecA GED|"
ENDLESS = GoOn(bars=256, seed=1)


@pytest.fixture
def two(models, tmp_path) -> tuple[Studio, Studio]:
    """Two studios that share a folder, as two processes would."""
    return Studio(tmp_path / "sessions", models, SharedStore), Studio(tmp_path / "sessions", models, SharedStore)


def takes(studio: Studio, name: str) -> list[list[int]]:
    return [list(take.piece.made) for take in studio.store.get("ann", name).session.takes]


def test_what_one_made_the_other_goes_on_from(two, seen):
    one, other = two
    name = one.begin("ann", Begin(text=TUNE)).name
    assert len(takes(other, name)) == 1
    seen(one, one.go_on("ann", name, GoOn(bars=2, seed=1)))
    seen(other, other.go_on("ann", name, GoOn(bars=2, seed=2)))
    seen(one, one.go_on("ann", name, GoOn(bars=2, seed=3)))
    assert takes(one, name) == takes(other, name) and len(takes(one, name)) == 4
    assert [take.parent for take in other.store.get("ann", name).session.takes] == [None, 0, 1, 2]


def test_one_at_a_time_lets_a_session_grow_or_changes_it(two):
    one, other = two
    name = one.begin("ann", Begin(text=TUNE)).name
    other.picture("ann", name)
    growth = one.go_on("ann", name, ENDLESS)
    for change in (
        lambda: other.go_on("ann", name, GoOn()),
        lambda: other.keep("ann", name, 0, True),
        lambda: other.store.forget("ann", name),
    ):
        with pytest.raises(GrowingError):
            change()
    other.stop("ann", name)
    assert growth.job.settled.is_set()
    # What could not be kept is not half kept either.
    assert other.store.get("ann", name).kept == set()
    other.keep("ann", name, 1, True)
    assert one.store.get("ann", name).kept == {1}


def test_who_read_a_session_before_it_changed_cannot_write_over_it(two, seen):
    one, other = two
    name = one.begin("ann", Begin(text=TUNE)).name
    old = other.store.get("ann", name)
    seen(one, one.go_on("ann", name, GoOn(bars=1, seed=1)))
    with pytest.raises(ChangedError):
        other.store.keep(old)
    with pytest.raises(ChangedError):
        other.store.hold(old, lambda: None)
    assert len(takes(other, name)) == 2


def test_a_stop_is_heard_wherever_the_piece_grows(two):
    one, other = two
    name = one.begin("ann", Begin(text=TUNE)).name
    growth = one.go_on("ann", name, ENDLESS)
    assert growth.job.events.get(timeout=10).kind == "token"
    other.stop("ann", name)
    assert growth.job.settled.is_set() and growth.job.cancelled.is_set()
    assert takes(other, name) == takes(one, name) and len(takes(one, name)) == 2
    # The next one is not stopped by what was said of this one.
    growth = other.go_on("ann", name, GoOn(bars=8, seed=2))
    assert growth.job.settled.wait(20) and not growth.job.cancelled.is_set()


def test_a_piece_that_was_let_go_of_is_gone_for_everybody(two):
    one, other = two
    name = one.begin("ann", Begin(text=TUNE)).name
    other.picture("ann", name)
    one.store.forget("ann", name)
    with pytest.raises(NoSessionError):
        other.picture("ann", name)
    assert not list(one.store.folder.glob("*/*"))


def test_what_grows_elsewhere_is_not_cleaned_away(models, tmp_path):
    one, other = (Studio(tmp_path, models, SharedStore, time_to_live=0.0, at_hand=0.0) for _ in range(2))
    name = one.begin("ann", Begin(text=TUNE)).name
    one.go_on("ann", name, ENDLESS)
    other.clean()
    other.stop("ann", name)
    assert len(takes(other, name)) == 2
    other.clean()
    with pytest.raises(NoSessionError):
        one.picture("ann", name)


def test_a_wish_is_granted_once_whoever_is_asked_first(two):
    one, other = two
    wish = Wish(GoOn(bars=2), key="k")
    name = one.begin("ann", Begin(text=TUNE), "p").name
    assert one.ask("ann", name, wish).job.settled.wait(20)
    assert other.begin("ann", Begin(text=TUNE), "p").name == name
    again = other.ask("ann", name, wish)
    assert again.job.settled.is_set() and again.numbers == [1]


HOLDER = """
import sys
from pathlib import Path
from rwkv_music_app.models import Models
from rwkv_music_app.shared_store import SharedStore
from rwkv_music_app.studio import Studio
from rwkv_music_app.wants import GoOn
studio = Studio(Path(sys.argv[1]), Models(rows=1), SharedStore)
growth = studio.go_on("ann", sys.argv[2], GoOn(bars=256, seed=1))
growth.job.events.get()
print("grows", flush=True)
growth.job.settled.wait()
"""


def test_the_session_of_a_process_that_was_killed_is_free_at_once(models, tmp_path):
    studio = Studio(tmp_path, models, SharedStore)
    name = studio.begin("ann", Begin(text=TUNE)).name
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path, name], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "grows\n"
        with pytest.raises(GrowingError):
            studio.go_on("ann", name, GoOn())
        holder.kill()
    begun = time.monotonic()
    studio.go_on("ann", name, GoOn(bars=1))
    assert time.monotonic() - begun < 5
    studio.stop("ann", name)


def test_a_store_of_one_process_writes_no_locks(studio):
    studio.begin("ann", Begin(text=TUNE))
    assert {path.suffix for path in studio.store.folder.glob("*/*")} == {".json", ".rwkvsession"}
