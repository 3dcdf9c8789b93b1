"""Scores as PDF: pages of A4 to print."""

from collections.abc import Sequence

from rwkv_music.render.errors import RenderError
from rwkv_music.render.options import RenderOptions
from rwkv_music.render.sheet import TIME_LIMIT, musicxml, run_engraver
from rwkv_music_tokenizers.score import Score

TYPESETTER = "rwkv_music.render.typeset"
LONGEST_TITLE = 500
LONGEST_REMARK = 4000


def pdf(score: Score, *, remarks: Sequence[str] = (), time_limit: float = TIME_LIMIT) -> bytes:
    """The score as a PDF of A4 pages; `remarks` become its description.

    Raises RenderError as `musicxml` does, and when the engraver fails or takes more than `time_limit` seconds.
    """
    words = (_argument(score.title, LONGEST_TITLE), _argument("\n".join(remarks), LONGEST_REMARK))
    made = run_engraver(TYPESETTER, words, musicxml(score), time_limit)
    if not made.startswith(b"%PDF"):
        raise RenderError("the engraver (verovio) cannot draw this piece")
    return made


def pdf_file(score: Score, options: RenderOptions) -> bytes:
    """The content of a .pdf file."""
    return pdf(score, remarks=options.remarks)


def _argument(text: str, longest: int) -> str:
    """A text that a command line can carry."""
    return text[:longest].replace("\0", "").encode("utf-8", "replace").decode("utf-8")
