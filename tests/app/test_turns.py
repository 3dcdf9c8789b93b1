"""Heavy work: few at once, some wait, nobody else holds a thread."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rwkv_music.works import Tune
from rwkv_music_app import sheets, sound, studio
from rwkv_music_app.batcher import BusyError
from rwkv_music_app.server import add_files
from rwkv_music_app.turns import Turns
from rwkv_music_app.wants import Begin

# What a server has for all that is not asynchronous.
THREADS = 40
TUNE = "X:1\nM:3/4\nL:1/4\nK:C\nCDE|FGA|"


def test_few_work_some_wait_and_more_are_sent_away():
    turns, over = Turns(2, 3), threading.Event()
    inside, most = [], []

    def work() -> None:
        with turns:
            inside.append(1)
            most.append(len(inside))
            over.wait(20)
            inside.pop()

    def sent_away() -> bool:
        try:
            with turns:
                return False
        except BusyError as error:
            return "try again" in str(error)

    with ThreadPoolExecutor(5) as pool:
        there = [pool.submit(work) for _ in range(5)]
        until = time.monotonic() + 20
        while turns._here._value and time.monotonic() < until:  # type: ignore[attr-defined]
            time.sleep(0.001)
        try:
            assert sent_away()
        finally:
            over.set()
        assert [one.result(20) for one in there] == [None] * 5
    assert max(most) == 2
    with turns:
        pass


def test_all_who_may_wait_leave_threads_for_stop():
    assert sum(module.AT_ONCE + module.WAITING for module in (studio, sheets, sound)) < THREADS


def test_nobody_waits_for_a_sheet_or_a_note_that_is_there(studio, tmp_path, monkeypatch):
    monkeypatch.setattr("rwkv_music_app.sheets._drawn", lambda *_: "<svg/>")
    monkeypatch.setattr("rwkv_music_app.sound._rendered", lambda *_: b"note")
    piece = studio.begin("ann", Begin(content=Tune(TUNE).midi(), name="a.mid")).name
    drawings, notes = sheets.Sheets(studio), sound.Notes(tmp_path)
    assert (drawings.drawing("ann", piece, 0, 0, 640), notes.wav("flute", "A4")) == ("<svg/>", b"note")
    drawings._turns = notes._turns = Turns(0, 0)
    assert (drawings.drawing("ann", piece, 0, 0, 640), notes.wav("flute", "A4")) == ("<svg/>", b"note")
    with pytest.raises(BusyError):
        drawings.drawing("ann", piece, 0, 0, 960)
    app = FastAPI()
    add_files(app, notes)
    # The page asks once more then.
    assert TestClient(app).get("/studio/sf/flute-mp3/B4.mp3").status_code == 503
