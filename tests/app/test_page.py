"""The whole page in a browser that reaches nothing but our own server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from rwkv_music.engine import Engine
from rwkv_music.session_file import load_session

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the test extra has it)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")

FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
TUNE = 'X:1\nT:<img src=x onerror=alert(1)> {{value}} ${globalThis.hit=1}\nM:6/8\nL:1/8\nK:G\nGAB c2d|"<b>C"ecA GED|\nw:<script>globalThis.hit=2</script> <svg/onload=globalThis.hit=3>'
# Notes down how much roll and sheet show whenever they change.
WATCH = """() => {
  const note = (name, attribute, kept) => new MutationObserver(() => {
    const size = Number(document.querySelector(name).getAttribute(attribute));
    if (size !== kept.at(-1)) kept.push(size);
  }).observe(document.querySelector(name), { attributes: true });
  note('.rm-roll', 'data-notes', globalThis.rolls = []);
  note('.rm-sheet', 'data-characters', globalThis.sheets = []);
}"""
# Milliseconds: this machine may be busy.
PATIENCE = 90_000


class Server:
    """The studio as a process of its own."""

    def __init__(self, folder: Path, port: int):
        self.folder, self.port = folder, port
        self.address = f"http://127.0.0.1:{port}/"
        words = ["-m", "rwkv_music", "app", "--port", str(port), "--folder", str(folder)]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, env=os.environ)
        for _ in range(600):
            assert self.process.poll() is None, self.log
            try:
                urlopen(self.address + "studio/static/piece.js").close()
                return
            except OSError:
                time.sleep(0.2)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(how)
        self.process.wait(20)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio, which must have nothing to complain of at the end."""
    server = Server(tmp_path_factory.mktemp("studio"), free_port())
    try:
        yield server.address
    finally:
        server.end()
    assert "Traceback" not in server.log and "ERROR" not in server.log, server.log[-3000:]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """One browser of one person."""

    def __init__(self, browser: "Browser", server: str, width: int = 1280, height: int = 900):
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.context.set_default_timeout(PATIENCE)
        self.server = server
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.context.route("**/*", self._only_ours)
        self.page = self.context.new_page()
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open()

    def _only_ours(self, route: "Route") -> None:
        if route.request.url.startswith((self.server, "data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def open(self) -> None:
        self.page.goto(self.server)
        self.page.wait_for_selector(".rm-desk .rm-title")
        self.page.wait_for_selector(".rm-actions", state="attached")

    def notes(self) -> int:
        return int(self.page.get_attribute(".rm-roll", "data-notes") or 0)

    def tree(self) -> dict:
        return self.page.evaluate("rwkvMusic.piece('studio').tree")

    def composed(self, takes: int) -> None:
        """Waits until nothing grows and there are so many takes."""
        self.page.wait_for_function(
            "count => { const tree = rwkvMusic.piece('studio').tree;"
            " return tree && !tree.growing.length && tree.takes.length === count + 1; }",
            arg=takes,
        )

    def clean(self) -> None:
        assert self.errors == [] and self.foreign == []


@pytest.fixture
def visitor(browser, server) -> Iterator[Visitor]:
    visitor = Visitor(browser, server)
    yield visitor
    visitor.context.close()


def write(visitor: Visitor, text: str, takes: int = 1) -> None:
    page = visitor.page
    page.get_by_role("radio", name="My ABC").check()
    page.fill("#rm-abc textarea", text)
    page.fill("#rm-takes input[type=number]", str(takes))
    page.locator("#rm-takes input[type=number]").blur()


def ask_for_much(visitor: Visitor) -> None:
    """Eight takes of 64 bars: enough to be stopped while they are written, on a fast machine too."""
    for field, number in (("bars", 64), ("takes", 8)):
        visitor.page.fill(f"#rm-{field} input[type=number]", str(number))
        visitor.page.locator(f"#rm-{field} input[type=number]").blur()


def test_an_evening_in_the_studio(visitor, server, tmp_path):
    page = visitor.page
    write(visitor, TUNE, takes=2)
    # What is typed is engraved while it is typed, and is text wherever it stands.
    page.wait_for_function("document.querySelectorAll('.rm-sheet-page .abcjs-note').length >= 9")
    page.fill("#rm-bars input[type=number]", "48")
    page.locator("#rm-bars input[type=number]").blur()
    page.evaluate(WATCH)
    page.click("#rm-compose")
    visitor.composed(2)
    page.wait_for_function("globalThis.sheets.length > 1")
    rolls, sheets = page.evaluate("[globalThis.rolls, globalThis.sheets]")
    assert len(rolls) > 2 and rolls[-1] > rolls[0], "the roll grows in steps"
    assert len(sheets) > 1 and sheets[-1] > sheets[0], "the sheet grows in steps"
    assert len(visitor.tree()["takes"]) == 3 and page.locator(".rm-card").count() == 2
    assert page.evaluate("globalThis.hit") is None and page.locator(".rm-title img").count() == 0

    # It sounds: time goes on, and samples are not silent.
    page.click(".rm-play")
    page.wait_for_function("rwkvMusic.piece('studio').player.level() > 0.005")
    begun = page.evaluate("rwkvMusic.piece('studio').player.time")
    page.wait_for_function("begun => rwkvMusic.piece('studio').player.time > begun + 0.5", arg=begun)
    page.keyboard.press("Space")
    page.wait_for_function("!rwkvMusic.piece('studio').player.playing")

    # Go on after a bar that is clicked, another way, undo and redo, by hand and by key.
    before = visitor.notes()
    box = page.locator(".rm-roll").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 120)
    page.wait_for_function("document.querySelector('.rm-main').textContent.startsWith('Continue after bar')")
    bar = page.evaluate("(() => { const p = rwkvMusic.piece('studio'); return p.take.bars[p.picked].after; })()")
    page.click(".rm-main")
    visitor.composed(4)
    assert [take["from"] for take in visitor.tree()["takes"][3:]] == [bar, bar]
    page.keyboard.press("b")
    visitor.composed(6)
    assert visitor.tree()["takes"][5]["parent"] == 1
    assert page.locator(".rm-tree g").count() == 7
    page.keyboard.press("z")
    page.wait_for_function("rwkvMusic.piece('studio').shown === 1")
    assert visitor.notes() == before
    page.keyboard.press("Shift+Z")
    page.wait_for_function("rwkvMusic.piece('studio').shown === 5")
    page.locator(".rm-card.rm-here .rm-keep").click()
    page.wait_for_selector(".rm-card.rm-here .rm-keep.rm-kept")

    heads = {"abc": b"X:1", "mid": b"MThd", "musicxml": b"<?xml", "svg": b"<svg", "pdf": b"%PDF", "wav": b"RIFF"}
    names = {"abc": "ABC", "mid": "MIDI", "musicxml": "MusicXML", "svg": "SVG", "pdf": "PDF", "wav": "WAV"}
    for suffix, head in heads.items():
        with page.expect_download() as download:
            page.locator(".rm-chip", has_text=names[suffix]).first.click()
        assert download.value.path().read_bytes().startswith(head), suffix
    with page.expect_download() as download:
        page.locator(".rm-chip", has_text="Session").click()
    session = load_session(Path(download.value.path()), Engine.open("abc-folk"))
    assert len(session.takes) == 7

    # All of it is there again after a reload.
    visitor.open()
    page.wait_for_function("rwkvMusic.piece('studio').take?.notes.length > 0")
    assert len(visitor.tree()["takes"]) == 7 and page.locator(".rm-keep.rm-kept").count() == 1
    page.locator(".rm-pieces summary").click()
    page.wait_for_selector(".rm-open")
    visitor.clean()


def test_stop_and_two_browsers_at_once(browser, server, visitor):
    other = Visitor(browser, server)
    for one in (visitor, other):
        ask_for_much(one)
    for one in (visitor, other):
        one.page.click("#rm-compose")
        one.page.wait_for_selector(".rm-stop:visible")
    for one in (visitor, other):
        one.page.wait_for_function("rwkvMusic.piece('studio').take?.notes.length > 8")
        one.page.keyboard.press("Escape")
        one.page.wait_for_selector(".rm-stop", state="hidden")
        one.composed(8)
    mine, theirs = (one.page.evaluate("rwkvMusic.piece('studio').session") for one in (visitor, other))
    assert mine != theirs
    answer = other.context.request.get(f"{server}studio/take/{mine}/1.abc")
    assert answer.status == 404
    assert visitor.context.request.get(f"{server}studio/take/{mine}/1.abc").status == 200
    visitor.clean()
    other.clean()
    other.context.close()


def test_mistakes_are_told_and_files_are_heard(visitor, tmp_path):
    page = visitor.page
    write(visitor, "X:1\nM:4/4\nL:1/8\nK:G\nGABc dedB|GABc d|GABc dedB|", takes=1)
    page.wait_for_function("/line 5, column/.test(document.querySelector('#rm-faults textarea')?.value ?? '')")
    page.fill("#rm-abc textarea", "no music")
    page.wait_for_function("/no K: field/.test(document.querySelector('#rm-faults textarea')?.value ?? '')")
    page.click("#rm-compose")
    page.wait_for_selector(".rm-toast")
    page.get_by_role("radio", name="A file").check()
    example = Path(__file__).parents[2] / "examples/greensleeves.abc"
    page.set_input_files("#rm-file input[type=file]", str(example))
    page.wait_for_selector("#rm-file .file-preview")
    page.fill("#rm-bars input[type=number]", "2")
    page.locator("#rm-bars input[type=number]").blur()
    page.click("#rm-compose")
    visitor.composed(1)
    assert page.inner_text(".rm-title") == "Greensleeves"
    visitor.clean()


def test_it_fits_a_phone_and_the_night(browser, server):
    phone = Visitor(browser, server, 360, 740)
    page = phone.page
    page.emulate_media(color_scheme="dark")
    page.click("#rm-compose")
    phone.composed(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in (".rm-play", ".rm-roll", ".rm-sheet svg", ".rm-card", ".rm-main"):
        box = page.locator(name).first.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 360, name
    phone.clean()
    phone.context.close()


def test_after_a_kill_in_the_middle_of_a_piece_all_that_was_made_before_is_there(browser, tmp_path):
    server = Server(tmp_path, free_port())
    visitor = Visitor(browser, server.address)
    page = visitor.page
    page.fill("#rm-bars input[type=number]", "2")
    page.locator("#rm-bars input[type=number]").blur()
    page.click("#rm-compose")
    visitor.composed(2)
    page.locator(".rm-card.rm-here .rm-keep").click()
    page.wait_for_selector(".rm-card.rm-here .rm-keep.rm-kept")
    before = page.evaluate("rwkvMusic.piece('studio').take.abc")
    ask_for_much(visitor)
    page.click(".rm-main")
    page.wait_for_selector(".rm-stop:visible")
    server.end(signal.SIGKILL)
    # A page that lost its server loads itself anew when there is one again, which would cut off our own visit.
    page.goto("about:blank")
    server = Server(tmp_path, server.port)
    try:
        visitor.open()
        page.wait_for_function("rwkvMusic.piece('studio').take?.notes.length > 0")
        takes = visitor.tree()["takes"]
        assert [take["kept"] for take in takes[:3]] == [False, True, False]
        page.evaluate("rwkvMusic.piece('studio').desk.tell('go_to', { take: 1 })")
        page.wait_for_function("abc => rwkvMusic.piece('studio').take?.abc === abc", arg=before)
    finally:
        visitor.context.close()
        server.end()
