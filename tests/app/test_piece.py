"""A piece in the browser: what it holds after updates that come in any order."""

import pytest
from playwright.sync_api import Browser

from rwkv_music_app.assets import FOLDER

# A take is asked for; `grown` is what comes of itself until the answer is there. The version that is known at last.
ASKED = """async ([before, grown, answered]) => {
    const piece = new (rwkvMusic.piece("x").constructor)("x"), none = { from: 0, new: [] };
    const told = (base, version) => ({ base, version, notes: none, bars: none, abc: { from: 0, new: "" }, windows: none, voices: [] });
    const heard = (base, version) => piece.apply({ session: "s", takes: { 1: told(base, version) } });
    piece.clear("s");
    let answer;
    piece.resync = () => new Promise((resolve) => { answer = resolve; });
    if (before) heard(0, before);
    piece.ask(1);
    for (const [base, version] of grown) heard(base, version);
    answer({ session: "s", takes: { 1: told(0, answered) } });
    await new Promise((resolve) => setTimeout(resolve));
    return piece.takes.get(1).version;
}"""


@pytest.mark.parametrize(
    ("before", "grown", "answered", "known"),
    [
        (0, [], 5, 5),
        (0, [[0, 5], [5, 6], [6, 7]], 5, 7),
        (0, [[0, 5]], 6, 6),
        # The server was started anew, and counts from 1 again.
        (57, [], 1, 1),
    ],
)
def test_an_answer_that_comes_late_takes_nothing_back(browser: Browser, before, grown, answered, known):
    page = browser.new_page()
    try:
        page.add_script_tag(path=FOLDER / "piece.js")
        assert page.evaluate(ASKED, [before, grown, answered]) == known
    finally:
        page.close()
