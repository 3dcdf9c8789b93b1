"""Performances in windows: together they are the whole sheet, and only the last changes while a piece grows."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rwkv_music.render.sheet import musicxml
from rwkv_music.works import Played, Tune
from rwkv_music_app.sheets import Sheets, add_sheets
from rwkv_music_app.store import NoSessionError
from rwkv_music_app.wants import Begin
from rwkv_music_app.windows import BARS, bars_before, window_of, windows
from rwkv_music_tokenizers.midi_reader import read_midi

HEADER = "X:1\nT:Windows\nM:3/4\nL:1/4\nQ:1/4=120\nK:{key}\n"


def played(bars: int, key: str = "C", before: str = "") -> Played:
    tune = HEADER.format(key=key) + before + "".join(f"{'CDEFGAB'[number % 7]}2E|" for number in range(bars))
    return Played(read_midi(Tune(tune).midi()))


def test_windows_hold_all_bars_in_their_order():
    work = played(BARS * 2 + 5)
    told = windows(work)
    assert [len(window.starts) for window in told] == [BARS, BARS, 5]
    assert [start for window in told for start in window.starts] == [1500 * bar for bar in range(BARS * 2 + 5)]
    bars = [bar for number in range(3) for bar in window_of(work.score, number).parts[0].bars]
    assert tuple(bars) == work.score.parts[0].bars


def test_only_the_last_window_of_a_piece_that_grows_is_another():
    before, after = windows(played(BARS * 2 + 5)), windows(played(BARS * 2 + 6))
    assert [one.name == other.name for one, other in zip(before, after, strict=True)] == [True, True, False]


def test_a_window_is_numbered_and_keyed_as_in_the_whole_and_has_no_title_of_its_own():
    score = played(BARS + 2, key="A").score
    xml = musicxml(window_of(score, 1), before=bars_before(score, 1))
    assert f'number="{BARS + 1}"' in xml and "<fifths>3</fifths>" in xml
    assert "Windows" not in xml and "Windows" in musicxml(window_of(score, 0))


def test_an_upbeat_is_no_bar_and_begins_where_it_sounds():
    work = played(BARS + 2, before="z2E|")
    assert windows(work)[0].starts[:3] == (1000, 1500, 3000)
    assert bars_before(work.score, 1) == BARS - 1


def test_a_part_that_rests_throughout_a_window_is_not_in_it():
    rests = "z3|" * BARS
    tune = f"X:1\nM:3/4\nL:1/4\nK:C\nV:1\n{'CDE|' * (BARS + 1)}\nV:2\n{rests}GAB|\n"
    score = Played(read_midi(Tune(tune).midi())).score
    assert [len(window_of(score, number).parts) for number in (0, 1)] == [1, 2]


@pytest.mark.parametrize("number", [-1, 2])
def test_there_are_no_other_windows(number):
    with pytest.raises(IndexError):
        window_of(played(BARS + 1).score, number)


def test_a_drawing_is_made_once_for_whose_it_is(studio, monkeypatch):
    drawn = []
    monkeypatch.setattr("rwkv_music_app.sheets._drawn", lambda *asked: drawn.append(asked[1:]) or "<svg/>")
    content = played(BARS + 1).midi()
    sitting = studio.begin("ann", Begin(content=content, name="a.mid"))
    sheets = Sheets(studio)
    for width in (640, 650, 10**9):
        assert sheets.drawing("ann", sitting.name, 0, 1, width) == "<svg/>"
    assert drawn == [(1, 640), (1, 1040)]
    with pytest.raises(NoSessionError):
        sheets.drawing("bob", sitting.name, 0, 1, 640)


def test_the_page_is_told_in_json_and_nobody_else_is(studio, monkeypatch):
    monkeypatch.setattr("rwkv_music_app.sheets._drawn", lambda *_: "<svg/>")
    owner = "a" * 64
    app = FastAPI()
    add_sheets(app, studio)
    mine, other = (TestClient(app, headers={"cookie": f"rwkv_music={who}"}) for who in (owner, "b" * 64))
    piece = studio.begin(owner, Begin(content=played(4).midi(), name="a.mid")).name
    tune = studio.begin(owner, Begin(text="X:1\nK:C\nCDEF|")).name
    assert mine.get(f"/studio/take/{piece}/0/sheet/0?width=-1").json() == {"svg": "<svg/>"}
    for path in (f"{piece}/0/sheet/1", f"{piece}/0/sheet/-1", f"{piece}/7/sheet/0", f"{tune}/0/sheet/0"):
        assert list(mine.get(f"/studio/take/{path}").json()) == ["error"]
    assert other.get(f"/studio/take/{piece}/0/sheet/0").status_code == 404
