"""The page of a run tells it whole, is one file, and asks nothing of any network."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from rwkv_music_training.telling import page as module
from rwkv_music_training.telling.charts import MOST_POINTS, Line, chart, marks, thinned
from rwkv_music_training.telling.curve import Ledger
from rwkv_music_training.telling.limits import Limit
from rwkv_music_training.telling.listening import keep
from rwkv_music_training.telling.page import PAGE, PageWriter, run_page


class Addresses(HTMLParser):
    """Collects what a page would load, and the tags that it is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("src", "href", "data", "action", "srcset") and value]


@pytest.fixture
def told(story, monkeypatch) -> str:
    """The page of a finished run with one sample."""
    monkeypatch.setattr("rwkv_music_training.telling.limits.MEASURED", 0.01)
    monkeypatch.setattr(module, "MOST_SECONDS", 1)
    (story.folder / "samples").mkdir()
    tune = "M:4/4\nL:1/4\nK:D\nABcd|edcB|]\n"
    keep(np.frombuffer(b"\x02" + tune.encode(), np.uint8), "abc", story.folder / "samples" / "step-0000004-1")
    ledger, writer = Ledger(), PageWriter()
    story.tell(ledger, writer)
    return (story.folder / PAGE).read_text(encoding="utf-8")


def test_the_page_tells_curves_numbers_samples_and_settings(told):
    assert "<h1>tiny &lt;run&gt;</h1>" in told and "tiny <run>" not in told
    assert "<b>2.5000</b>bits a token, best at step 4" in told and "<b>400</b>tokens read" in told
    assert told.count('role="img"') == 4 and "validation</text>" in told
    assert "optimiser.learning_rate" in told and "<td>songs</td>" in told
    assert "What it wrote at step 4" in told and '<img alt="sheet"' in told and '<img alt="piano roll"' in told
    assert "<audio controls" in told or "No sound" in told
    assert "<pre>X:1\nT:step-0000004-1" in told


def test_the_page_loads_nothing(told):
    addresses = Addresses()
    addresses.feed(told)
    assert addresses.found and all(address.startswith("data:") for address in addresses.found)
    assert not addresses.tags & {"script", "link", "iframe", "object"}
    assert not re.search(r"url\(|@import", told)


def test_a_run_that_has_only_begun_has_a_page(story):
    page = run_page(story.begun(), story.end(), Limit(1e9, 1e3))
    assert "<h2>Settings</h2>" in page and "By source" not in page and "What it wrote" not in page


def test_a_chart_is_an_image_of_finite_points():
    drawn = chart([Line("a<b", [(0, 1), (1, float("nan")), (2, 3)])], "tokens", "bits")
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg") and "a&lt;b" in drawn and "nan" not in drawn
    assert chart([Line("nothing", [])], "tokens", "bits") == ""
    assert chart([Line("one", [(5, 5)])], "tokens", "bits").count("<circle") == 1


def test_marks_are_round_and_span_the_range():
    assert marks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert marks(0.93, 1.31)[0] <= 0.93 and marks(0.93, 1.31)[-1] >= 1.31 - 1e-9
    assert marks(3, 3) == [3]
    for low, high in ((0, 1e-6), (123, 1.2e9), (-3, 7.7)):
        assert 3 <= len(marks(low, high)) <= 8


def test_long_lines_are_thinned_to_their_means():
    points = [(float(number), float(number % 2)) for number in range(10 * MOST_POINTS)]
    kept = thinned(points)
    assert len(kept) == MOST_POINTS and all(abs(y - 0.5) < 0.1 for _, y in kept)
