"""Engraves MusicXML from standard input as one SVG on standard output: `python -m rwkv_music.render.engrave [OPTIONS]`.

OPTIONS are the engraver's as JSON, besides those that stand here. A program of its own: the engraver is compiled code
that can crash on odd input, and must take only itself down.
"""

import json
import re
import sys

import verovio

# One page as wide as a song book's and as tall as the engraver allows; a longer piece takes several, joined below.
OPTIONS = {
    "adjustPageHeight": True,
    "breaks": "auto",
    # Or tempo marks touch the meter.
    "defaultBottomMargin": 1.2,
    "footer": "none",
    "header": "auto",
    "pageHeight": 60_000,
    "pageWidth": 2_100,
    "scale": 40,
    "xmlIdSeed": 1,
}
NO_MUSIC = 3
_CREATOR = re.compile(
    r'<respStmt[^>]*>\s*<persName[^>]*role="(composer|lyricist)"[^>]*>([^<]*)</persName>\s*</respStmt>'
)
_SIZE = re.compile(r'<svg width="(\d+)px" height="(\d+)px"')


def main() -> int:
    """Exit code 0, or NO_MUSIC for what the engraver cannot read."""
    options = {**OPTIONS, **json.loads(sys.argv[1] if len(sys.argv) > 1 else "{}")}
    pages = engraved_pages(sys.stdin.buffer.read().decode("utf-8"), options)
    if not pages:
        return NO_MUSIC
    sys.stdout.buffer.write(joined(pages).encode("utf-8"))
    return 0


def engraved_pages(xml: str, options: dict[str, object]) -> list[str]:
    """MusicXML as SVG pages; none where the engraver cannot read it."""
    toolkit = verovio.toolkit()
    toolkit.setOptions(options)
    if not toolkit.loadData(xml):
        return []
    # The engraver reads a composer from MusicXML into a place where its own page header does not look for one.
    music, moved = _CREATOR.subn(r"<\1>\2</\1>", toolkit.getMEI())
    if moved and not toolkit.loadData(music):
        return []
    return [toolkit.renderToSVG(number) for number in range(1, toolkit.getPageCount() + 1)]


def joined(pages: list[str]) -> str:
    """SVG pages one below the other as one SVG."""
    if len(pages) == 1:
        return pages[0]
    sizes = [tuple(map(int, match.groups())) for page in pages if (match := _SIZE.search(page))]
    width, height = max(width for width, _height in sizes), sum(height for _width, height in sizes)
    inner: list[str] = []
    top = 0
    for page, (_width, page_height) in zip(pages, sizes, strict=True):
        inner.append(page[page.index("<svg") :].replace("<svg ", f'<svg y="{top}" ', 1))
        top += page_height
    opening = f'<svg width="{width}px" height="{height}px" version="1.1" xmlns="http://www.w3.org/2000/svg">'
    return "\n".join([opening, *inner, "</svg>\n"])


if __name__ == "__main__":
    sys.exit(main())
