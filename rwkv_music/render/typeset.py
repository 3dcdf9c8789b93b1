"""Typesets MusicXML from standard input as a PDF on standard output: `python -m rwkv_music.render.typeset TITLE REMARKS`.

verovio engraves pages, typst puts them into a PDF, with fonts embedded.
"""

import base64
import io
import re
import sys
import tempfile
from pathlib import Path

import typst
import verovio
from fontTools.ttLib import TTFont

from rwkv_music.render.engrave import NO_MUSIC, OPTIONS, engraved_pages

MARGINS = ("pageMarginTop", "pageMarginBottom", "pageMarginLeft", "pageMarginRight")
# Pages of A4, in tenths of a millimetre.
PAGES = {**OPTIONS, "adjustPageHeight": False, "pageHeight": 2_970, **dict.fromkeys(MARGINS, 120)}
PAGE = """#set document(title: sys.inputs.title, description: sys.inputs.remarks, date: none)
#set page(width: 210mm, height: 297mm, margin: 0mm)
"""
# The notes in words ("quarter = 90") are set in the engraver's music font, which its style sheet holds as WOFF2.
STYLES = "Leipzig.css"
# Tooltips: nothing in print, but typst takes one for the beginning of a line of text.
_TOOLTIP = re.compile(r"<title\b[^>]*>[^<]*</title>\s*")
_FONT = re.compile(r"base64,\s*([A-Za-z0-9+/=\s]+)")


def main() -> int:
    """Exit code 0, or NO_MUSIC for what the engraver cannot read."""
    title, remarks = sys.argv[1:]
    pages = engraved_pages(sys.stdin.buffer.read().decode("utf-8"), PAGES)
    if not pages:
        return NO_MUSIC
    with tempfile.TemporaryDirectory(prefix="rwkv-music-") as name:
        folder = Path(name)
        _unpack_font(folder / "music.ttf")
        for number, page in enumerate(pages, 1):
            (folder / f"{number}.svg").write_text(_TOOLTIP.sub("", page), encoding="utf-8")
        images = "#pagebreak()\n".join(f'#image("{number}.svg", width: 210mm)\n' for number in range(1, len(pages) + 1))
        (folder / "sheet.typ").write_text(PAGE + images, encoding="utf-8")
        made = typst.compile(
            str(folder / "sheet.typ"),
            root=name,
            font_paths=[name],
            sys_inputs={"title": title, "remarks": remarks},
        )
    assert isinstance(made, bytes), "a PDF is one file"
    sys.stdout.buffer.write(made)
    return 0


def _unpack_font(path: Path) -> None:
    found = _FONT.search((Path(verovio.__file__).parent / "data" / STYLES).read_text(encoding="utf-8"))
    assert found is not None, "the engraver brings its music font"
    # Without the hour: the same score makes the same file.
    font = TTFont(io.BytesIO(base64.b64decode(found[1])), recalcTimestamp=False)
    font.flavor = None
    font.save(path)


if __name__ == "__main__":
    sys.exit(main())
