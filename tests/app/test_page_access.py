"""The page without a mouse, read aloud, by night, and on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe

# What has the focus, and whether that can be seen.
FOCUS = """() => {
  const it = document.activeElement, style = getComputedStyle(it), around = getComputedStyle(it.closest('label') ?? it);
  const ring = (one) => (one.outlineStyle !== 'none' && parseFloat(one.outlineWidth) > 0) || one.boxShadow !== 'none';
  return [it.tagName === 'BODY' ? '' : (it.getAttribute('class') || it.id || it.tagName), ring(style) || ring(around)];
}"""


def composed(visitor, takes: int = 1, bars: int = 4) -> None:
    page = visitor.page
    for field, number in (("bars", bars), ("takes", takes)):
        page.fill(f"#rm-{field} input[type=number]", str(number))
        page.locator(f"#rm-{field} input[type=number]").blur()
    page.click("#rm-compose")
    visitor.composed(takes)
    page.wait_for_selector(".rm-leaf svg")
    page.wait_for_selector(".rm-play:enabled")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_nothing_stands_in_the_way_of_a_screen_reader_or_of_tired_eyes(visit, width, scheme):
    visitor = visit(width=width, height=844)
    page = visitor.page
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function("(dark) => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
    composed(visitor, takes=2)
    page.wait_for_selector(".rm-tree svg")
    found = Axe().run(page).response["violations"]
    told = [(one["id"], [node["html"][:120] for node in one["nodes"]][:4]) for one in found]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == [], told
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    visitor.clean()


def test_all_of_it_by_keys(visitor):
    page = visitor.page
    composed(visitor)
    page.evaluate("document.activeElement.blur()")
    piece = "rwkvMusic.piece('studio')"
    page.keyboard.press("Space")
    page.wait_for_function(f"{piece}.player.playing")
    page.keyboard.press("Space")
    page.wait_for_function(f"!{piece}.player.playing")
    for key, picked in (("ArrowRight", "first"), ("ArrowRight", "second"), ("ArrowLeft", "first")):
        page.keyboard.press(key)
        places = page.evaluate(f"{piece}.take.bars.flatMap((bar, place) => (bar.after === null ? [] : [place]))")
        assert page.evaluate(f"{piece}.picked") == places[0 if picked == "first" else 1]
    assert page.inner_text(".rm-main").startswith("Continue after bar")
    page.keyboard.press("Escape")
    assert page.evaluate(f"{piece}.picked") is None
    page.keyboard.press("Enter")
    visitor.composed(2)
    assert visitor.tree()["takes"][2]["parent"] == 1
    page.keyboard.press("b")
    visitor.composed(3)
    assert visitor.tree()["takes"][3]["parent"] == 1
    page.keyboard.press("z")
    page.wait_for_function(f"{piece}.shown === 1")
    page.keyboard.press("Shift+Z")
    page.wait_for_function(f"{piece}.shown === 3")
    # A letter that is typed is a letter.
    page.get_by_role("radio", name="My ABC").check()
    page.fill("#rm-abc textarea", "")
    page.locator("#rm-abc textarea").press_sequentially("zb ")
    assert page.input_value("#rm-abc textarea") == "zb " and len(visitor.tree()["takes"]) == 4
    visitor.clean()


def test_the_focus_can_be_seen_wherever_it_goes(visitor):
    page = visitor.page
    composed(visitor, takes=2)
    page.evaluate("(document.activeElement.blur(), scrollTo(0, 0))")
    seen = {}
    for _ in range(80):
        page.keyboard.press("Tab")
        what, visible = page.evaluate(FOCUS)
        if not what:
            break
        seen[what] = seen.get(what, True) and visible
    for part in ("rm-roll", "rm-sheet", "rm-play", "rm-seek", "rm-button rm-main", "rm-button rm-go", "rm-chip"):
        assert part in seen, part
    assert [what for what, visible in seen.items() if not visible] == []
    # Takes in the tree are gone to by key, and the focus stays.
    page.locator(".rm-tree g[tabindex]").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("rwkvMusic.piece('studio').shown === 0")
    page.wait_for_function("document.activeElement.dataset.take === '0'")
    visitor.clean()
