"""The sheet in the page: engraved performances, long pieces, and what strangers may have written into either."""

import json

import pytest

from rwkv_music.works import Tune
from rwkv_music_app.components.music_value import update_of

HOSTILE = "<img src=x onerror=globalThis.hit=1>{{value}}${globalThis.hit=2}"
# What somebody could hope to get into the page by a drawing.
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="90px" height="50px"
 onload="globalThis.hit=3"><script>globalThis.hit=4</script><style>*{background:url(http://example.com/a)}</style>
 <foreignObject><img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="globalThis.hit=5"/></foreignObject>
 <a xlink:href="javascript:globalThis.hit=6"><text>link</text></a><image href="http://example.com/b"/>
 <animate onbegin="globalThis.hit=7" attributeName="x" dur="1s"/><use href="http://example.com/c#d"/>
 <defs><g id="E0A4"><path d="M0 0"/></g></defs>
 <g class="measure" onclick="globalThis.hit=8" style="background:url(http://example.com/e)"><use xlink:href="#E0A4"/>
 <text x="1">&lt;b&gt;words</text></g></svg>"""


def compose(visitor, content: bytes, name: str, bars: int = 2) -> None:
    page = visitor.page
    page.get_by_role("radio", name="A file").check()
    page.set_input_files("#rm-file input[type=file]", {"name": name, "mimeType": "audio/midi", "buffer": content})
    page.wait_for_selector("#rm-file .file-preview")
    for field, number in (("bars", bars), ("takes", 1)):
        page.fill(f"#rm-{field} input[type=number]", str(number))
        page.locator(f"#rm-{field} input[type=number]").blur()
    page.click("#rm-compose")
    visitor.composed(1)


def tune(bars: int) -> Tune:
    body = "\n".join("GABc dBAG|edcB A2GA|BAGF E2FG|A2AB A4|" for _ in range(bars // 4))
    return Tune(f"X:1\nT:{HOSTILE}\nM:4/4\nL:1/8\nK:G\n{body}")


def test_a_performance_is_engraved_and_one_goes_on_from_its_bars(visitor):
    page = visitor.page
    compose(visitor, tune(44).midi(), "a <b>piece</b>.mid")
    page.wait_for_selector(".rm-leaf g.measure .note")
    assert page.inner_text(".rm-sheet-note").startswith("Approximate notation")
    bars = page.evaluate("rwkvMusic.piece('studio').take.bars.length")
    assert bars >= 46
    assert page.evaluate("rwkvMusic.piece('studio').take.windows.map((one) => one.starts.length)") == [32, bars - 32]
    # A click on the third bar of the second window picks it, and it is lit in the sheet.
    page.evaluate("document.querySelector('.rm-sheet').scrollTop = 1e6")
    third = page.locator(".rm-leaf").nth(1).locator("g.measure").nth(12)
    third.wait_for()
    third.scroll_into_view_if_needed()
    box = third.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.rm-main').textContent === 'Continue after bar 45'")
    assert "rm-picked" in (third.get_attribute("class") or "")
    # While it is played, the bar that sounds is lit, and brought into sight.
    page.click(".rm-play")
    page.wait_for_selector(".rm-leaf:first-child g.measure.rm-sounding")
    page.click(".rm-play")
    visitor.clean()


def test_nothing_of_a_drawing_runs_and_nothing_is_fetched(visitor):
    page = visitor.page
    page.evaluate(
        "(drawing) => document.querySelector('.rm-sheet').append(rwkvMusic.engraved.picture(drawing))", DRAWING
    )
    page.click(".rm-sheet > svg g.measure", force=True)
    made = page.evaluate("document.querySelector('.rm-sheet > svg').outerHTML")
    for word in ("script", "style", "foreign", "image", "javascript", "animate", "onclick", "onload", "http://example"):
        assert word not in made, word
    assert "&lt;b&gt;words" in made and "link" not in made
    name = page.get_attribute(".rm-sheet > svg defs g", "id")
    assert page.get_attribute(".rm-sheet > svg .measure use", "href") == f"#{name}"
    assert page.evaluate(
        "[globalThis.hit ?? null, rwkvMusic.engraved.picture('<html/>'), rwkvMusic.engraved.picture('')]"
    ) == [
        None,
        None,
        None,
    ]
    visitor.clean()


# A window as an engraver would send it, of 32 bars.
BAR = '<g class="measure"><path d="M0 0L9 9"/></g>'
WINDOW = f'<svg xmlns="http://www.w3.org/2000/svg" width="800px" height="700px">{BAR * 32}</svg>'


@pytest.mark.parametrize("kind", ["abc", "midi"])
def test_of_a_thousand_bars_only_those_in_sight_are_drawn(visitor, kind):
    page, update = visitor.page, update_of(tune(1000).abc)
    assert update is not None
    if kind == "midi":
        starts = [[str(number), [2000 * (32 * number + bar) for bar in range(32)]] for number in range(32)]
        update["takes"]["0"] |= {"abc": {"from": 0, "new": ""}, "windows": {"from": 0, "new": starts}}
        page.route("**/sheet/*", lambda route: route.fulfill(json={"svg": WINDOW}))
    page.evaluate("(update) => rwkvMusic.piece('studio').apply(update)", json.loads(json.dumps(update)))
    page.wait_for_selector(".rm-leaf:first-child > svg")
    assert page.evaluate("rwkvMusic.piece('studio').take.bars.length") == 1000
    assert page.locator(".rm-leaf").count() == 32 and page.locator(".rm-leaf > svg").count() <= 3
    page.evaluate("document.querySelector('.rm-sheet').scrollTop = 1e7")
    page.wait_for_selector(".rm-leaf:last-child > svg")
    page.wait_for_selector(".rm-leaf:first-child > svg", state="detached")
    assert page.locator(".rm-leaf > svg").count() <= 3 and page.locator(".rm-sheet *").count() < 5_000
    visitor.clean()


CUTS = {
    "by bars": ("X:1\nM:4/4\nL:1/8\nK:G\n" + "GABc d4|" * 40, [0, 12, 24, 36]),
    "keys go on": ("X:1\nM:4/4\nL:1/8\nK:G\n" + "GABc d4|" * 13 + "[K:D]" + "GABc d4|" * 20, [0, 12, 24]),
    "two voices": ("X:1\nK:G\nV:1\nV:2\n" + "GABc d4|" * 40, [0]),
    "text is no bar": ("X:1\nK:G\n" + '"a|b|c"GABc !f! d4|' * 17, [0]),
}


@pytest.mark.parametrize("name", CUTS)
def test_a_long_tune_is_cut_between_bars(visitor, name):
    abc, firsts = CUTS[name]
    leaves = visitor.page.evaluate("(abc) => rwkvMusic.abc.cut(abc, 12)", abc)
    assert [leaf["first"] for leaf in leaves] == firsts
    assert "".join(abc[leaf["from"] : leaf["to"]] for leaf in leaves) == abc
    for leaf in leaves:
        # What stands in a leaf is found again in the whole.
        assert leaf["text"].endswith(abc[leaf["from"] : leaf["to"]])
        place = len(leaf["text"]) - 3
        assert leaf["text"][place:] == abc[place + leaf["shift"] :][:3]
    if name == "keys go on":
        assert ["K:D" in leaf["text"].split("|")[0] for leaf in leaves] == [False, False, True]
