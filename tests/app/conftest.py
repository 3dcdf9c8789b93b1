"""A studio for tests: the embedded models, in a folder of its own; and as a server of its own, with browsers at it."""

import asyncio
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Route, sync_playwright

from rwkv_music_app.growth import Growth
from rwkv_music_app.models import Models
from rwkv_music_app.studio import Studio

FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
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


class Visitor:
    """One browser of one person."""

    def __init__(self, browser: Browser, server: str, width: int = 1280, height: int = 900):
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

    def _only_ours(self, route: Route) -> None:
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


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    """The embedded models, four rows each."""
    models = Models(rows=4)
    yield models
    models.close()


@pytest.fixture
def studio(models: Models, tmp_path: Path) -> Studio:
    """A studio whose sessions lie in a fresh folder."""
    return Studio(tmp_path / "sessions", models)


@pytest.fixture
def seen():
    """`seen(studio, growth)`: every update until the takes have grown."""

    def follow(studio: Studio, growth: Growth) -> list[dict]:
        async def all_of_them() -> list[dict]:
            return [update async for update in studio.follow(growth)]

        return asyncio.run(all_of_them())

    return follow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a studio, which must have nothing to complain of at the end."""
    server = Server(tmp_path_factory.mktemp("studio"), free_port())
    try:
        yield server.address
    finally:
        server.end()
    assert "Traceback" not in server.log and "ERROR" not in server.log, server.log[-3000:]


@pytest.fixture
def waltzes(tmp_path: Path) -> Callable[[str], list[Path]]:
    """`waltzes(other)`: files of eight waltzes of a kind, and of one that is called `other` and is no music."""

    def write(other: str) -> list[Path]:
        folder = tmp_path / "upload"
        folder.mkdir()
        for number in range(8):
            bars = "|".join(
                "".join("GABcdefg"[(number * step + at) % 8] for at in range(6)) for step in (1, 3, 5, 2) * 2
            )
            (folder / f"waltz {number}.abc").write_text(f"X:1\nT:{number}\nR:waltz\nM:3/4\nL:1/8\nK:G\n{bars}|]\n")
        (folder / other).write_text("milk, bread\n")
        return sorted(folder.iterdir())

    return write


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """`serve(folder, port)`: further servers, which end with the test."""
    servers: list[Server] = []

    def begin(folder: Path, port: int | None = None) -> Server:
        servers.append(Server(folder, port or free_port()))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's chromium, which pip cannot install: without one the test is skipped, but never in `.ci/run`."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visitor]]:
    """`visit(address, width, height)`: somebody new at the page, by default of the common server."""
    visitors: list[Visitor] = []

    def come(address: str = "", width: int = 1280, height: int = 900) -> Visitor:
        visitors.append(Visitor(browser, address or request.getfixturevalue("server"), width, height))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.context.close()


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    """Somebody new at the common server's page."""
    return visit()


@pytest.fixture
def programs():
    """`programs(studio)`: a function that gives a new program with a key of its own, at a fresh address."""
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from rwkv_music_app.api.application import make_api
    from rwkv_music_app.api.refusals import add_refusals
    from rwkv_music_app.gate import Gate

    numbers = itertools.count(1)

    def serve(studio: Studio):
        app = FastAPI()
        add_refusals(app)
        app.mount("/api", make_api(studio))
        gate = Gate(app)

        def program(owner: str | None = None) -> TestClient:
            headers = {"x-rwkv-music-owner": owner or secrets.token_hex(32)}
            address = (f"10.1.0.{next(numbers)}", 1)
            return TestClient(gate, base_url="http://127.0.0.1:7860/api/v1", headers=headers, client=address)

        return program

    return serve
