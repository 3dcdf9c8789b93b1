"""The whole page in a browser that reaches nothing but our own server."""

import signal
from pathlib import Path

import httpx2

from rwkv_music.engine import Engine
from rwkv_music.session_file import load_session

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


def write(visitor, text: str, takes: int = 1) -> None:
    page = visitor.page
    page.get_by_role("radio", name="My ABC").check()
    page.fill("#rm-abc textarea", text)
    page.fill("#rm-takes input[type=number]", str(takes))
    page.locator("#rm-takes input[type=number]").blur()


def ask_for_much(visitor) -> None:
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

    # A link to the take works for somebody else, until it is taken back.
    page.click(".rm-share")
    address = page.input_value(".rm-link")
    with httpx2.Client() as stranger:
        assert stranger.get(address).text.startswith("X:1")
        page.click(".rm-unshare")
        page.wait_for_selector(".rm-share")
        assert stranger.get(address).status_code == 404

    # All of it is there again after a reload.
    visitor.open()
    page.wait_for_function("rwkvMusic.piece('studio').take?.notes.length > 0")
    assert len(visitor.tree()["takes"]) == 7 and page.locator(".rm-keep.rm-kept").count() == 1
    page.locator(".rm-pieces summary").click()
    page.wait_for_selector(".rm-open")
    assert page.locator(".rm-list img").count() == 0 and page.evaluate("globalThis.hit") is None
    visitor.clean()


def test_stop_and_two_browsers_at_once(visit, server, visitor):
    other = visit()
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


FITS = """([name, width]) => {
    const box = document.querySelector(name)?.getBoundingClientRect();
    return box && box.width > 0 && box.x >= 0 && box.right <= width;
}"""


def test_it_fits_a_phone_and_the_night(visit):
    phone = visit(width=360, height=740)
    page = phone.page
    page.emulate_media(color_scheme="dark")
    page.click("#rm-compose")
    phone.composed(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in (".rm-play", ".rm-roll", ".rm-sheet svg", ".rm-card", ".rm-main"):
        # Asked of the page at once: a sheet may just be drawn anew.
        page.wait_for_function(FITS, arg=[name, 360])
    phone.clean()


def test_after_a_kill_in_the_middle_of_a_piece_all_that_was_made_before_is_there(serve, visit, tmp_path):
    server = serve(tmp_path)
    visitor = visit(server.address)
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
    serve(tmp_path, server.port)
    visitor.open()
    page.wait_for_function("rwkvMusic.piece('studio').take?.notes.length > 0")
    takes = visitor.tree()["takes"]
    assert [take["kept"] for take in takes[:3]] == [False, True, False]
    page.evaluate("rwkvMusic.piece('studio').desk.tell('go_to', { take: 1 })")
    page.wait_for_function("abc => rwkvMusic.piece('studio').take?.abc === abc", arg=before)
