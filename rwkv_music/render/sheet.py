"""Scores as sheets: MusicXML for notation programs, and one SVG that shows the whole piece."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from music21.exceptions21 import Music21Exception
from music21.musicxml.m21ToXml import ScoreExporter

from rwkv_music.render.errors import RenderError
from rwkv_music.render.notation import to_stream
from rwkv_music.render.options import RenderOptions
from rwkv_music.render.spans import add_spans
from rwkv_music_tokenizers.score import Score

ENGRAVER = "rwkv_music.render.engrave"
TIME_LIMIT = 60.0
# Where music21 puts the word of a tempo that has a number too.
TEMPO_WORDS = "words[@default-y='45'][@font-weight='bold']"
# Characters that XML cannot hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)


def musicxml(score: Score, *, remarks: Sequence[str] = (), before: int = 0) -> str:
    """The score as MusicXML 4.0, repeats and endings as repeats. `remarks` are miscellaneous fields in it.

    before: the number of the bar before its first one, where it is cut out of a longer piece.

    Raises RenderError for a score without music or too long for a sheet.
    """
    if not any(True for _bar in score.bars()):
        raise RenderError("there is no music to write on a sheet")
    written, spans = to_stream(score, remarks, before)
    try:
        root = ScoreExporter(written, makeNotation=False).parse()
    except Music21Exception as error:
        raise RenderError(f"this music cannot be written as MusicXML ({error})") from error
    add_spans(root, spans)
    _tidy(root)
    ElementTree.indent(root)
    return DOCTYPE + _FORBIDDEN.sub("", ElementTree.tostring(root, encoding="unicode")) + "\n"


def _tidy(root: ElementTree.Element) -> None:
    """Mend what music21 writes: no date (the same score makes the same file), tempos whole and above the staff."""
    for encoding in root.iter("encoding"):
        for date in encoding.findall("encoding-date"):
            encoding.remove(date)
    for measure in root.iter("measure"):
        mark: ElementTree.Element | None = None
        for direction in measure.findall("direction"):
            kind = direction.find("direction-type")
            if kind is None or kind.find("dynamics") is not None:
                continue
            if mark is not None and kind.find(TEMPO_WORDS) is not None:
                # music21 writes a tempo's word and its number apart.
                for word in kind:
                    word.text = f"{word.text} "
                mark.insert(0, kind)
                measure.remove(direction)
                continue
            direction.attrib.setdefault("placement", "above")
            mark = direction if kind.find("metronome") is not None else None


def svg(score: Score, *, remarks: Sequence[str] = (), time_limit: float = TIME_LIMIT) -> str:
    """The whole score as one SVG. `remarks` go into its metadata.

    Raises RenderError as `musicxml` does, and when the engraver fails or takes more than `time_limit` seconds.
    """
    opening, rest = engraved(musicxml(score), time_limit).split(">", 1)
    noted = f"<metadata>{escape(_FORBIDDEN.sub('', chr(10).join(remarks)))}</metadata>" if remarks else ""
    return f"{opening}>{noted}{rest}"


def musicxml_file(score: Score, options: RenderOptions) -> bytes:
    """The content of a .musicxml file."""
    return musicxml(score, remarks=options.remarks).encode("utf-8", "replace")


def svg_file(score: Score, options: RenderOptions) -> bytes:
    """The content of an .svg file."""
    return svg(score, remarks=options.remarks).encode("utf-8", "replace")


def engraved(xml: str, time_limit: float = TIME_LIMIT, options: Mapping[str, object] | None = None) -> str:
    """MusicXML as one SVG, made by verovio in a process of its own. options: verovio's. Raises RenderError when it fails."""
    picture = run_engraver(ENGRAVER, [json.dumps(options or {})], xml, time_limit).decode("utf-8", "replace")
    if "<svg" not in picture:
        raise RenderError("the engraver (verovio) cannot draw this piece")
    return picture[picture.index("<svg") :]


def run_engraver(program: str, words: Sequence[str], xml: str, time_limit: float = TIME_LIMIT) -> bytes:
    """What a module that engraves makes of MusicXML, in a process of its own. Raises RenderError when it fails."""
    command = [sys.executable, "-m", program, *words]
    try:
        done = subprocess.run(command, input=xml.encode("utf-8"), capture_output=True, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        raise RenderError(f"the engraver took more than {time_limit:.0f} s; shorten the piece") from error
    if done.returncode != 0:
        raise RenderError(f"the engraver (verovio) cannot draw this piece (exit {done.returncode})")
    return done.stdout
