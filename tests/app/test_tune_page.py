"""The page where styles are tuned, in a browser that reaches nothing but our own server."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright import sync_api

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no chromium: apt-get install chromium"
)
# Milliseconds: this machine may be busy.
PATIENCE = 180_000
# What Gradio says when a page is left, or loaded anew, that is still being told of something.
LEAVING = ("AbortError: signal is aborted", "Unexpected error Connection errored out")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a studio as a process of its own, on a machine where nobody has tuned anything."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "rwkv_music", "app", "--port", str(port), "--folder", str(tmp_path / "studio")]
    log = tmp_path / "log"
    with log.open("wb") as file:
        home = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "home")}
        process = subprocess.Popen([sys.executable, *words], stdout=file, stderr=file, env=home)
    address = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                urlopen(address + "studio/static/piece.js").close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert "Traceback" not in log.read_text() and "ERROR" not in log.read_text(), log.read_text()[-3000:]


def test_a_style_is_tuned_on_the_page_and_composed_with(address: str, waltzes):
    tunes = [str(path) for path in waltzes("<img src=x onerror=hit=1> ${globalThis.hit=1}.abc")]
    foreign: list[str] = []
    wrong: list[str] = []

    def complain(text: str) -> None:
        if not text.startswith(LEAVING):
            wrong.append(text)

    def only_ours(route) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            foreign.append(route.request.url)
            route.abort()

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])
        context = browser.new_context(viewport={"width": 390, "height": 844}, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        context.route("**/*", only_ours)
        page = context.new_page()
        page.on("console", lambda said: complain(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complain(str(error)))
        page.goto(address)
        # Gradio's own link of that name is hidden, but not before the style sheet has come.
        page.locator(".rm-pages").get_by_role("link", name="Tune it").click()
        page.wait_for_selector(".rm-tuning[data-phase=none]")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits a phone"

        page.get_by_role("button", name="Settings").click()
        page.click("#rm-look")
        page.wait_for_selector(".rm-wrong")
        page.fill("#rm-tune-name input, #rm-tune-name textarea", "Upstairs")
        page.set_input_files("#rm-tune-files input[type=file]", tunes)
        page.wait_for_function("document.querySelectorAll('#rm-tune-files .file').length === 9")
        page.fill("#rm-tune-steps input", "4")
        page.locator("#rm-tune-steps input").blur()
        page.click("#rm-look")
        page.wait_for_selector(".rm-tuning[data-phase=ready]")
        assert "onerror" in page.inner_text(".rm-tuning details") and page.evaluate("globalThis.hit") is None
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # What is under way is seen again by whoever comes back.
        page.click("#rm-start-tuning")
        page.wait_for_selector(".rm-tuning[data-phase=learning]")
        page.reload()
        page.wait_for_selector(".rm-tuning[data-phase=done]")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == "upstairs.safetensors"

        page.get_by_role("link", name="Compose with it").click()
        page.wait_for_function("document.querySelector('#rm-style input')?.value === 'Upstairs'")
        page.fill("#rm-takes input[type=number]", "1")
        page.fill("#rm-bars input[type=number]", "4")
        page.locator("#rm-bars input[type=number]").blur()
        page.click("#rm-compose")
        page.wait_for_function(
            "rwkvMusic.piece('studio').tree?.takes.length === 2 && !rwkvMusic.piece('studio').growing.length"
        )
        assert page.evaluate("rwkvMusic.piece('studio').tree.model") == "abc-folk+upstairs"
        browser.close()
    assert foreign == [], foreign
    assert wrong == [], "\n".join(wrong)
