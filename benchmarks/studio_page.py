"""The studio's page in a browser: how soon notes and silence come, alone and among others, and what 1,000 bars do to it.

    python benchmarks/studio_page.py --people 8 --tries 20 --bars 1000

Needs playwright and chromium. Prints JSON; times are milliseconds from the click to the next frame that shows it. The
others are programs that compose over HTTP all the time: eight browsers would take the machine for themselves.
"""

import argparse
import json
import multiprocessing
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
from long_tune import long_abc
from playwright.sync_api import Browser, Page, sync_playwright
from studio_process import StudioProcess

from rwkv_music.works import Tune
from rwkv_music_app.client import Client

FLAGS = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
# Promises in the page; `shown` comes true in the frame after a condition does.
TOOLS = """
globalThis.shown = (what) => new Promise((done) => { const look = () => (what() ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look)); look(); });
globalThis.studio = () => rwkvMusic.piece('studio');
globalThis.frames = (count, step) => new Promise((done) => {
  const times = []; let before = performance.now();
  const next = (now) => { times.push(now - before); before = now; if (times.length > count) done(times.slice(1)); else { step(times.length); requestAnimationFrame(next); } };
  requestAnimationFrame(next);
});
"""
FIRST_NOTE = """async () => {
  const piece = studio(), before = piece.session, begun = performance.now();
  document.querySelector('#rm-compose').click();
  return await shown(() => piece.session !== before && piece.takes.get(piece.shown)?.notes.length) - begun;
}"""
FREE = """async () => {
  const begun = performance.now();
  document.querySelector('.rm-stop').click();
  return await shown(() => !studio().growing.length) - begun;
}"""
SOUND = "async () => { if (!studio().player.playing) document.querySelector('.rm-play').click(); await shown(() => studio().player.level() > 0.01); }"
SILENCE = """async () => {
  const begun = performance.now();
  document.querySelector('.rm-play').click();
  return await shown(() => studio().player.level() < 0.001) - begun;
}"""
OPEN = """async (session) => {
  const piece = studio();
  piece.clear(null);
  document.querySelectorAll('.rm-leaf').forEach((leaf) => leaf.replaceChildren());
  const begun = performance.now();
  await piece.desk.tell('open', { session });
  const notes = await shown(() => piece.take?.notes.length) - begun;
  return [notes, await shown(() => document.querySelector('.rm-leaf svg')) - begun];
}"""
SCROLL = "() => frames(150, () => { document.querySelector('.rm-sheet').scrollTop += 60; })"
ZOOM = """() => frames(90, (nth) => document.querySelector('.rm-roll').dispatchEvent(
  new WheelEvent('wheel', { ctrlKey: true, deltaY: nth < 45 ? 60 : -60, clientX: 700, bubbles: true, cancelable: true })))"""
PULL = """() => frames(90, () => document.querySelector('.rm-roll').dispatchEvent(
  new WheelEvent('wheel', { deltaX: 200, bubbles: true, cancelable: true })))"""
PICK = """async (nth) => {
  const piece = studio(), last = '.rm-leaf:last-child', drawn = [...document.querySelectorAll(`${last} .abcjs-note, ${last} g.measure`)].slice(-8);
  const box = drawn[nth % drawn.length].getBoundingClientRect(), begun = performance.now();
  const before = piece.picked;
  document.querySelector('.rm-sheet').dispatchEvent(new MouseEvent('click', { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true }));
  const took = await new Promise((done) => requestAnimationFrame(() => done(performance.now()))) - begun;
  return piece.picked === before ? null : took;
}"""
NODES = "document.querySelectorAll('.rm-sheet *').length"
# From an update's arrival to the frame after it, and the time between two updates with new notes.
WATCH = """() => {
  globalThis.grown = { page: [], gaps: [] }; let last = null;
  studio().addEventListener('music', () => {
    const begun = performance.now();
    if (last !== null) grown.gaps.push(begun - last);
    last = begun;
    requestAnimationFrame(() => setTimeout(() => grown.page.push(performance.now() - begun)));
  });
}"""


def spread(times: list[float]) -> dict[str, float]:
    """p50, p95 and most of some times."""
    ordered = sorted(times) or [0.0]
    return {
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1),
        "most": round(ordered[-1], 1),
        "of": len(times),
    }


def visit(browser: Browser, address: str) -> Page:
    """The page, opened by somebody new."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(180_000)
    page.goto(address)
    page.wait_for_selector(".rm-actions", state="attached")
    page.evaluate(TOOLS)
    return page


def fill(page: Page, field: str, number: int) -> None:
    """One of the numbers of the form."""
    page.fill(f"#rm-{field} input[type=number]", str(number))
    page.locator(f"#rm-{field} input[type=number]").blur()


def times(page: Page, tries: int) -> dict[str, Any]:
    """Click to first note, Stop to free rows, and Stop to silence."""
    first, free, silence = [], [], []
    fill(page, "bars", 64)
    fill(page, "takes", 1)
    for _ in range(tries):
        first.append(page.evaluate(FIRST_NOTE))
        page.wait_for_function("studio().take.end > 4 || !studio().growing.length")
        if page.evaluate("studio().growing.length"):
            free.append(page.evaluate(FREE))
        page.wait_for_function("!studio().growing.length")
        page.evaluate(SOUND)
        silence.append(page.evaluate(SILENCE))
    return {"first_note": spread(first), "stop_to_free_rows": spread(free), "stop_to_silence": spread(silence)}


def compose_on(address: str, people: int) -> None:
    """So many people, each with an address of their own, who compose 64 bars again and again."""

    def compose(person: int) -> None:
        with Client(address, transport=httpx2.HTTPTransport(local_address=f"127.0.2.{person}")) as client:
            while True:
                for _ in client.generate({}, bars=64, takes=1):
                    pass

    threads = [threading.Thread(target=compose, args=(person,)) for person in range(1, people + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tokens_a_second(studio: StudioProcess, seconds: float = 20.0) -> float:
    """What all who compose at this moment are given."""
    before, begun = studio.numbers()["rwkv_music_tokens_total"], time.monotonic()
    time.sleep(seconds)
    return round((studio.numbers()["rwkv_music_tokens_total"] - before) / (time.monotonic() - begun), 1)


def memory(browser: Browser) -> int:
    """Resident MiB of the largest process that shows a page."""
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [Path(f"/proc/{one['id']}/statm").read_text().split()[1] for one in found if one["type"] == "renderer"]
    return max(int(count) * 4096 >> 20 for count in pages)


def long_piece(browser: Browser, address: str, file: Path) -> dict[str, Any]:
    """What the page takes for a piece that is as long as the file's."""
    page = visit(browser, address)
    page.get_by_role("radio", name="A file").check()
    page.set_input_files("#rm-file input[type=file]", str(file))
    page.wait_for_selector("#rm-file .file-preview")
    fill(page, "bars", 8)
    fill(page, "takes", 1)
    page.click("#rm-compose")
    page.wait_for_function("studio().tree && !studio().growing.length && studio().take?.notes.length")
    session = page.evaluate("studio().session")
    opened = [page.evaluate(OPEN, session) for _ in range(3)]
    told = {
        "bars": page.evaluate("studio().take.bars.length"),
        "notes": page.evaluate("studio().take.notes.length"),
        "notes_shown": spread([notes for notes, _ in opened]),
        "sheet_shown": spread([sheet for _, sheet in opened]),
        "nodes_of_the_sheet": page.evaluate(NODES),
        "scroll_frame": spread(page.evaluate(SCROLL)),
        "zoom_frame": spread(page.evaluate(ZOOM)),
        "pull_frame": spread(page.evaluate(PULL)),
    }
    # One goes on from what the model wrote, which stands at the end.
    page.evaluate("document.querySelector('.rm-sheet').scrollTop = 1e7")
    page.wait_for_selector(".rm-leaf:last-child > svg")
    told |= {
        "click_on_bar": spread([one for nth in range(20) if (one := page.evaluate(PICK, nth)) is not None]),
    }
    page.evaluate("studio().pick(null)")
    page.evaluate(WATCH)
    page.click(".rm-main")
    page.wait_for_function("studio().tree.takes.length === 3 && !studio().growing.length")
    grown = page.evaluate("globalThis.grown")
    told |= {"update_to_frame": spread(grown["page"]), "between_updates": spread(grown["gaps"])}
    cdp = page.context.new_cdp_session(page)
    cdp.send("HeapProfiler.collectGarbage")
    cdp.send("Performance.enable")
    metrics = {one["name"]: one["value"] for one in cdp.send("Performance.getMetrics")["metrics"]}
    told |= {
        "heap_mib": int(metrics["JSHeapUsedSize"]) >> 20,
        "tab_mib": memory(browser),
    }
    page.context.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--people", type=int, default=8, help="how many at once, beside one alone, 2 or more (default: 8)"
    )
    parser.add_argument("--tries", type=int, default=20, help="of each time; 0 leaves the times out")
    parser.add_argument("--bars", type=int, default=1000, help="of the long piece; 0 leaves it out")
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright, StudioProcess(Path(name)) as studio:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        if args.bars:
            abc = long_abc(args.bars)
            files = {
                "abc": (Path(name) / "long.abc", abc.encode()),
                "midi": (Path(name) / "long.mid", Tune(abc).midi()),
            }
            for kind, (path, content) in files.items():
                path.write_bytes(content)
                told[kind] = long_piece(browser, studio.address, path)
        if args.tries:
            page = visit(browser, studio.address)
            page.evaluate(FIRST_NOTE)
            page.wait_for_function("!studio().growing.length")
            told["alone"] = times(page, args.tries)
            for people in (1, args.people - 1):
                crowd = multiprocessing.get_context("spawn").Process(target=compose_on, args=(studio.address, people))
                crowd.start()
                time.sleep(10)
                told[f"tokens_a_second_of_{people}"] = tokens_a_second(studio)
                if people > 1:
                    told[f"among_{people + 1}"] = times(page, args.tries)
                crowd.terminate()
                crowd.join()
        browser.close()
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
