"""The studio without a page: what it makes is what the command line makes, and nobody meets anybody else."""

import asyncio
import os
import platform
import subprocess
import sys
import threading
import time

import pytest

from rwkv_music.cli import main
from rwkv_music.compose import Piece
from rwkv_music.errors import UserError
from rwkv_music.session_file import load_session
from rwkv_music_app.errors import TooManyError
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.studio import Studio
from rwkv_music_app.wants import MOST_TAKES, Begin, GoOn

TUNE = "X:1\nT:A Tune\nM:6/8\nL:1/8\nK:G\n|:GAB c2d|ecA GED|"


def made(sitting, take: int) -> list[int]:
    return list(sitting.session.takes[take].piece.made)


@pytest.mark.parametrize("begin", [Begin(text=TUNE), Begin(instruments="violin,cello")], ids=["abc", "midi"])
def test_going_on_after_a_bar_is_what_the_command_line_gives(studio, seen, tmp_path, begin):
    sitting = studio.begin("ann", begin)
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=6, seed=5)))
    kept = tmp_path / "before.rwkvsession"
    kept.write_bytes(studio.session_file("ann", sitting.name).read_bytes())
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=3, takes=2, seed=8), take=1, bar=2))
    words = f"generate --session {kept} --take 1 --from-bar 2 --bars 3 --seed 8 -n 2 -q"
    out = ["-o", str(tmp_path / "out.mid"), "--save-session", str(tmp_path / "after.rwkvsession")]
    assert main([*words.split(), *out]) == 0
    again = load_session(tmp_path / "after.rwkvsession", sitting.session.engine)
    for take in (2, 3):
        assert list(again.takes[take].piece.made) == made(sitting, take)
        assert again.takes[take].after == sitting.session.takes[take].after > 0
    assert made(sitting, 2) != made(sitting, 3)


def test_several_people_at_once_get_what_each_would_get_alone(studio, seen):
    alone = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", alone.name, GoOn(bars=8, seed=3)))
    sittings = {owner: studio.begin(owner, Begin(text=TUNE)) for owner in ("bob", "cat", "dan", "eve", "fay", "gus")}
    growths = [
        studio.go_on(owner, sitting.name, GoOn(bars=8, seed=3 + place, takes=1 + place % 2))
        for place, (owner, sitting) in enumerate(sittings.items())
    ]
    for growth in growths:
        seen(studio, growth)
    assert made(sittings["bob"], 1) == made(alone, 1)
    assert made(sittings["cat"], 1) != made(alone, 1)


def test_nothing_of_one_person_can_be_reached_by_another(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=1)))
    for reach in (
        lambda: studio.picture("bob", sitting.name),
        lambda: studio.since("bob", sitting.name, 0),
        lambda: studio.go_on("bob", sitting.name, GoOn()),
        lambda: studio.session_file("bob", sitting.name),
        lambda: studio.stop("bob", sitting.name),
        lambda: studio.undo("bob", sitting.name),
        lambda: studio.keep("bob", sitting.name, 1, True),
        lambda: studio.store.forget("bob", sitting.name),
        lambda: studio.picture("ann", "../" + sitting.name),
        lambda: studio.picture("ann", "0" * 32),
    ):
        with pytest.raises(NoSessionError):
            reach()
    assert studio.store.told("bob") == []


def test_stopping_frees_the_rows_and_keeps_what_was_made(studio, models):
    sitting = studio.begin("ann", Begin(text=TUNE))
    growth = studio.go_on("ann", sitting.name, GoOn(bars=256, takes=4))
    with pytest.raises(UserError, match="stop it first"):
        studio.go_on("ann", sitting.name, GoOn())
    assert growth.job.events.get(timeout=10).kind == "token"
    studio.stop("ann", sitting.name)
    assert models.batcher("abc-folk").rows == (0, 0)
    assert made(sitting, 1)
    assert sitting.growing == set()
    assert sitting.session.takes[1].piece.runs[-1].cut == len(made(sitting, 1))


def test_stopping_what_waits_for_a_row_needs_no_row(studio, models):
    ann, bob = (studio.begin(owner, Begin(text=TUNE)) for owner in ("ann", "bob"))
    grows = studio.go_on("ann", ann.name, GoOn(bars=256, takes=4))
    waits = studio.go_on("bob", bob.name, GoOn(bars=256, takes=2))
    grows.job.events.get(timeout=60)
    assert models.batcher("abc-folk").rows == (4, 2)
    studio.stop("bob", bob.name)
    assert waits.job.over.is_set() and not grows.job.over.is_set()
    assert [event.kind for event in waits.job.log] == ["done", "done"]
    assert models.batcher("abc-folk").rows == (4, 0)
    studio.stop("ann", ann.name)
    assert models.batcher("abc-folk").rows == (0, 0)


def test_whoever_goes_away_stops_what_grows(studio, models):
    sitting = studio.begin("ann", Begin(text=TUNE))
    growth = studio.go_on("ann", sitting.name, GoOn(bars=256))

    async def look_once() -> None:
        updates = studio.follow(growth)
        await anext(updates)
        await updates.aclose()

    asyncio.run(look_once())
    assert growth.job.cancelled.is_set() and growth.job.settled.wait(10)
    assert models.batcher("abc-folk").rows == (0, 0)


def test_updates_add_up_to_the_whole_take(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    updates = seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=24, seed=2)))
    notes, bars, abc, version = [], [], "", 0
    for told in (update["takes"]["1"] for update in updates if "1" in update["takes"]):
        assert told["base"] == version
        version = told["version"]
        notes[told["notes"]["from"] :] = told["notes"]["new"]
        bars[told["bars"]["from"] :] = told["bars"]["new"]
        abc = abc[: told["abc"]["from"]] + told["abc"]["new"]
    whole = studio.since("ann", sitting.name, 1)
    assert version > 2
    assert (notes, bars, abc) == (list(whole["notes"]["new"]), whole["bars"]["new"], whole["abc"]["new"])
    assert studio.since("ann", sitting.name, 1, version)["notes"]["new"] == ()
    work = sitting.session.takes[1].piece.work()
    assert abc == work.abc and len(notes) == work.performance.count


def test_every_bar_line_to_go_on_from_is_where_its_bar_ends(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=8, seed=4)))
    told = studio.since("ann", sitting.name, 1)
    after = [bar[2] for bar in told["bars"]["new"] if bar[2] is not None]
    assert set(after) == set(range(len(sitting.session.bars())))
    piece = sitting.session.piece
    for _, _end, moment, surprise, *_ in told["bars"]["new"]:
        assert surprise is None or surprise > 0
        if moment:
            until = piece.back_to(sitting.session.bars()[moment]).work()
            assert until.score.parts[0].bars  # the beginning up to there can be read by itself


def test_branch_undo_redo_and_keep(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=4, seed=1)))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=2, seed=1), bar=2))
    seen(studio, studio.branch("ann", sitting.name, GoOn(bars=2, seed=9), 2))
    picture = studio.picture("ann", sitting.name)
    assert [(take["parent"], take["from"]) for take in picture["takes"]] == [(None, 0), (0, 0), (1, 2), (1, 2)]
    assert picture["current"] == 3 and not picture["redo"]
    studio.undo("ann", sitting.name)
    assert studio.picture("ann", sitting.name)["current"] == 1
    studio.redo("ann", sitting.name)
    studio.keep("ann", sitting.name, 3, True)
    picture = studio.picture("ann", sitting.name)
    assert picture["current"] == 3 and picture["takes"][3]["kept"]


def test_after_a_kill_in_the_middle_of_a_piece_what_was_made_before_is_there(studio, seen, models, tmp_path):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=4, takes=2, seed=1)))
    studio.keep("ann", sitting.name, 2, True)
    before = made(sitting, 2)
    growth = studio.go_on("ann", sitting.name, GoOn(bars=256))
    assert growth.job.events.get(timeout=10)
    # Another process finds what is on disk now, as after a kill.
    again = Studio(tmp_path / "sessions", models)
    [told] = again.store.told("ann")
    assert (told.name, told.title, told.takes, told.kept) == (sitting.name, "A Tune", 2, 1)
    assert made(again.store.get("ann", told.name), 2) == before
    assert again.picture("ann", told.name)["takes"][2]["kept"]
    seen(again, again.go_on("ann", told.name, GoOn(bars=2), take=2))
    studio.stop("ann", sitting.name)


def test_exports_in_every_format(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=2, seed=1)))
    heads = {"abc": b"X:1", "mid": b"MThd", "musicxml": b"<?xml", "svg": b"<svg", "pdf": b"%PDF", "wav": b"RIFF"}
    for form, head in heads.items():
        content = studio.export("ann", sitting.name, 1, form)
        assert content.startswith(head)
        assert b"rwkv-music {" in content or form == "pdf"
    with pytest.raises(UserError):
        studio.export("ann", sitting.name, 1, "../abc")


def test_text_is_never_the_name_of_a_file(studio):
    for text in ("/etc/passwd", "examples/greensleeves.abc", "-"):
        with pytest.raises(UserError, match="holds no ABC"):
            studio.begin("ann", Begin(text=text))


def test_more_than_one_person_may_ask_for_is_refused(studio):
    for wanted in (lambda: GoOn(takes=9), lambda: GoOn(bars=257), lambda: Begin(content=b"x" * (5 << 20))):
        with pytest.raises(UserError):
            wanted()
    with pytest.raises(UserError, match="does not offer"):
        studio.begin("ann", Begin(model="/etc/passwd"))


def test_takes_of_all_pieces_of_a_person_are_counted(studio):
    names = [studio.begin("ann", Begin(text=TUNE)).name for _ in range(3)]
    growths = [studio.go_on("ann", name, GoOn(bars=64, takes=MOST_TAKES - 1, seed=1)) for name in names[:2]]
    with pytest.raises(TooManyError):
        studio.go_on("ann", names[2], GoOn(bars=1, takes=3))
    for name, growth in zip(names, growths, strict=False):
        studio.stop("ann", name)
        assert growth.job.settled.wait(20)
    studio.go_on("ann", names[2], GoOn(bars=1, takes=MOST_TAKES)).job.settled.wait(60)


def test_what_is_refused_leaves_one_where_one_was(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    for seed in (1, 2):
        seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=1, seed=seed), take=0))
    with pytest.raises(UserError, match="bar lines"):
        studio.go_on("ann", sitting.name, GoOn(bars=1), take=1, bar=999)
    assert sitting.session.current == 2 and not sitting.growing


def test_a_take_that_cannot_start_is_told_and_nobody_else_suffers(studio, seen, monkeypatch):
    sitting, other = (studio.begin(owner, Begin(text=TUNE)) for owner in ("ann", "bob"))

    def nothing(*_):
        raise UserError("nothing is left to play")

    monkeypatch.setattr(Piece, "_follow_again", nothing)
    assert seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=1)))[-1]["errors"] == ["nothing is left to play"]
    monkeypatch.undo()
    assert seen(studio, studio.go_on("bob", other.name, GoOn(bars=1)))[-1]["errors"] == []
    assert len(made(other, 1)) > 0


def test_a_disk_that_is_full_is_told_after_the_music(studio, seen, monkeypatch):
    sitting = studio.begin("ann", Begin(text=TUNE))

    def full(*_):
        # The page is told meanwhile that nothing grows any more.
        time.sleep(0.5)
        raise OSError("no space left")

    monkeypatch.setattr(studio.store, "keep", full)
    updates = seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=1)))
    assert updates[-2]["tree"] and updates[-2]["errors"] == []
    assert "disk is full" in updates[-1]["errors"][0]


def test_an_open_piece_is_not_old(models, tmp_path):
    studio = Studio(tmp_path, models, time_to_live=0.3, at_hand=0)
    open_one, old = (studio.begin("ann", Begin(text=TUNE)).name for _ in range(2))
    time.sleep(0.4)
    studio.picture("ann", open_one)
    studio.store.clean()
    assert [told.name for told in studio.store.told("ann")] == [open_one]


def test_sessions_leave_memory_and_come_back(models, seen, tmp_path):
    studio = Studio(tmp_path, models, memory=1, at_hand=0)
    names = [studio.begin("ann", Begin(text=TUNE)).name for _ in range(3)]
    seen(studio, studio.go_on("ann", names[0], GoOn(bars=2, seed=1)))
    assert len(studio.store) == 1
    assert all(studio.picture("ann", name)["takes"] for name in names)
    assert len(studio.picture("ann", names[0])["takes"]) == 2


def test_a_session_that_came_back_counts_for_the_states_of_all_its_takes(studio, seen):
    sitting = studio.begin("ann", Begin(text=TUNE))
    seen(studio, studio.go_on("ann", sitting.name, GoOn(bars=1, takes=3)))
    back = Studio(studio.store.folder, studio.models).store.get("ann", sitting.name)
    memories = [take.piece.memory for take in back.session.takes]
    states = sum(x.nbytes for memory in memories for x in (*memory.state.tensors().values(), memory.logits))
    assert states <= back.bytes < sitting.bytes


# In a process of its own, where nobody else's memory lies between.
FREED = """
import os
from pathlib import Path
from rwkv_music_app.memory import give_back
def resident(): return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
used = [[bytearray(60_000), bytearray(600)] for _ in range(1000)]
for pair in used:
    pair[0] = bytearray()
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems keep memory in other ways")
def test_what_was_freed_between_what_is_used_goes_back_to_the_system():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", FREED], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000


def test_the_old_go_and_the_kept_stay(models, seen, tmp_path):
    studio = Studio(tmp_path, models, time_to_live=-1.0, at_hand=0)
    kept, old = (studio.begin("ann", Begin(text=TUNE)).name for _ in range(2))
    seen(studio, studio.go_on("ann", kept, GoOn(bars=1)))
    studio.keep("ann", kept, 1, True)
    studio.store.clean()
    assert [told.name for told in studio.store.told("ann")] == [kept]
    with pytest.raises(NoSessionError):
        studio.picture("ann", old)


def test_many_threads_at_one_session_do_no_harm(studio):
    sitting = studio.begin("ann", Begin(text=TUNE))
    refused = []

    def try_it() -> None:
        try:
            growth = studio.go_on("ann", sitting.name, GoOn(bars=1))
            growth.job.settled.wait(20)
        except UserError as error:
            refused.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    takes = studio.picture("ann", sitting.name)["takes"]
    assert len(takes) + len(refused) == 7 and all(take["bars"] == 1 for take in takes[1:])


def test_handlers_know_nothing_of_gradio():
    code = "import sys, rwkv_music_app.studio, rwkv_music_app.gate; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
