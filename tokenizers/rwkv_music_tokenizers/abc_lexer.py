"""ABC text into tokens, as much at a time as there is: feed characters, get finished tokens, lose nothing.

Joined, the texts of all tokens are the source again. Kinds of token:

    field        a field line from its letter to the end of its value: "K:G", "w:la la", "+:more"
    inline       a field inside music: "[K:G]"
    directive    a line that starts with "%%"; comment: from "%" to the end of the line
    newline, space, backtick, spacer ("y2"), continuation ("\\"), linebreak ("$", or "!" alone)
    note         accidental, letter, octave marks and length: "^c'3/2"
    rest         "z", "x", "Z" or "X" and its length
    chord_open, chord_close ("]2", with the chord's length), grace_open ("{" or "{/"), grace_close
    slur_open ("(", ".("), slur_close, tie ("-", ".-"), tuplet ("(3:2:3"), broken (">", "<<"), overlay ("&")
    bar          any bar line: "|", "||", "|]", "[|", "[|]", ".|", "|:", ":|", "::", ":|:", "::|"
    ending       the numbers of an ending, with its bracket where there is one: "1" after "|", "[1,3", "[2-4"
    symbol       a chord symbol '"G7"'; annotation: '"^text"'
    decoration   "!trill!", "+trill+", or one letter: . ~ H..W h..w
    text         what stands between %%begintext and %%endtext, and the lines that go on after H: in a header
    unknown      anything else, a character at a time
"""

import re
from typing import NamedTuple

from rwkv_music_tokenizers.abc_patterns import (
    IN_BLOCK,
    IN_MUSIC,
    LINE_IN_BODY,
    LINE_IN_HEADER,
    LINE_IN_HISTORY,
    REST_OF_LINE,
    UNDECIDED,
)
from rwkv_music_tokenizers.errors import Place

# Kinds at the start of a header's line that do not yet make it music.
NOT_MUSIC = frozenset({"newline", "space", "text", "unknown", "decoration", "linebreak", "continuation", "inline"})
# Kinds after which a line may go on differently.
TURNS = frozenset({"newline", "comment"})


class Token(NamedTuple):
    """A word of ABC: its kind, its text, and where it starts (offset from 0, line and column from 1)."""

    kind: str
    text: str
    start: int
    line: int
    column: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def place(self) -> Place:
        return Place(self.line, self.column)


class Lexer:
    """Cuts a growing text into tokens. `pending` is the end of the text that may still become a longer token."""

    def __init__(self, first_line: int = 1) -> None:
        self.pending = ""
        # Past the header: the K: line, or any music, was seen.
        self.in_body = False
        self._next = LINE_IN_HEADER
        self._in_block = False
        self._in_history = False
        self._offset = 0
        self._line = first_line
        self._line_start = 0

    def clone(self) -> "Lexer":
        """A lexer in the same state that goes its own way."""
        twin = Lexer.__new__(Lexer)
        twin.__dict__.update(self.__dict__)
        return twin

    def feed(self, text: str) -> list[Token]:
        """Take more of the text; return the tokens that no further text can change."""
        return self._cut(self.pending + text if self.pending else text, final=False)

    def finish(self) -> list[Token]:
        """Return the rest, as if the text ended here."""
        return self._cut(self.pending, final=True)

    def _cut(self, text: str, final: bool) -> list[Token]:
        tokens: list[Token] = []
        position, length = 0, len(text)
        column = self._offset - self._line_start + 1
        while position < length:
            match = self._next.match(text, position)
            assert match is not None and match.lastgroup is not None
            end = match.end()
            if not final and (end == length or UNDECIDED.match(text, position)):
                break
            kind = match.lastgroup
            token = Token(kind, text[position:end], self._offset + position, self._line, column + position)
            tokens.append(token)
            position = end
            if self._next is not IN_MUSIC or kind in TURNS:
                self._turn(token)
                column = self._offset - self._line_start + 1
        self.pending = text[position:]
        self._offset += position
        return tokens

    def _turn(self, token: Token) -> None:
        """Choose how the text goes on after a token that begins or ends a line, or takes up the rest of one."""
        kind = token.kind
        if kind == "newline":
            self._line += 1
            self._line_start = token.end
            self._next = self._at_line_start()
        elif kind == "field":
            letter = token.text[0]
            self.in_body = letter == "K" or (self.in_body and letter != "X")
            self._in_history = letter == "H" and not self.in_body
            self._next = REST_OF_LINE
        elif kind == "directive":
            self._in_block = token.text.startswith("%%begin")
            self._next = REST_OF_LINE
        elif kind == "comment":
            self._next = REST_OF_LINE
        elif kind not in NOT_MUSIC or (self.in_body and kind != "space"):
            if self._next in (LINE_IN_HEADER, LINE_IN_BODY):
                self.in_body = True
                self._next = IN_MUSIC
        elif kind != "space" and self._next is LINE_IN_HEADER:
            self._next = IN_MUSIC

    def _at_line_start(self) -> re.Pattern[str]:
        if self._in_block:
            return IN_BLOCK
        if self._in_history:
            return LINE_IN_HISTORY
        return LINE_IN_BODY if self.in_body else LINE_IN_HEADER


def lex(text: str, first_line: int = 1) -> list[Token]:
    """All tokens of a whole text. `first_line` is the number of its first line in a larger one."""
    lexer = Lexer(first_line)
    lexer.pending = text
    return lexer.finish()
