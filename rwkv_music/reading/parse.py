"""Parses MusicXML from standard input into our JSON on standard output: `python -m rwkv_music.reading.parse`.

Exits with 1 and a line where music21 cannot read it.
"""

import sys

from music21.exceptions21 import Music21Exception
from music21.musicxml.xmlToM21 import MusicXMLImporter

from rwkv_music.errors import UserError
from rwkv_music.reading.from_music21 import score_of
from rwkv_music.render.plain import write_json
from rwkv_music_tokenizers.score import Score


def parse_musicxml(text: bytes) -> Score:
    """The score of XML that has been measured. Raises UserError where music21 cannot read it.

    It takes the time and memory that the file asks for: call it only in a process that may be lost.
    """
    importer = MusicXMLImporter()
    try:
        # music21 annotates this attribute as None only.
        setattr(importer, "xmlText", text)  # noqa: B010
        importer.parseXMLText()
        return score_of(importer.stream)
    # music21 meets odd files with errors of every kind; each is the same news here.
    except (Music21Exception, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{type(error).__name__}: {error}".splitlines()[0]) from error


def main() -> int:
    """0, or 1 for what cannot be read."""
    try:
        score = parse_musicxml(sys.stdin.buffer.read())
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(write_json(score).encode("utf-8", "replace"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
