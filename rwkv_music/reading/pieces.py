"""A piece of music from a file of any form that can be read: its suffix, or what it begins with, tells which."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rwkv_music.errors import UserError
from rwkv_music.files import FileError, decoded, read_bytes, refuse_foreign
from rwkv_music.making import find_making
from rwkv_music.reading.token_text import read_tokens
from rwkv_music.render.plain import read_json
from rwkv_music.tunebook import pick_tune
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_writer import write_midi
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.score import Score
from rwkv_music_tokenizers.score_of_performance import score_of_performance

MIDI, MUSICXML, JSON, TOKENS, ABC = "MIDI", "MusicXML", "JSON", "tokens", "ABC"
FORMS = {
    **dict.fromkeys((".mid", ".midi", ".kar", ".rmi"), MIDI),
    **dict.fromkeys((".musicxml", ".xml", ".mxl"), MUSICXML),
    ".json": JSON,
    ".tokens": TOKENS,
}
SUFFIXES = (".abc", *FORMS)
# Of a file of each form.
LIMITS = {MIDI: 8 << 20, MUSICXML: 16 << 20, JSON: 16 << 20, TOKENS: 16 << 20, ABC: 256 << 10}


@dataclass(frozen=True, eq=False)
class Piece:
    """What a file holds: of `score` and `performance` the one that it was read as."""

    name: str
    score: Score | None = None
    performance: Performance | None = None
    # How it was made, as the file remembers it.
    remarks: tuple[str, ...] = ()
    # What the person should know about the file, one line each.
    told: tuple[str, ...] = ()

    def written(self, grid: str = "") -> tuple[Score, str]:
        """The score, and what is approximate about it (empty where nothing is).

        `grid` as in `score_of_performance`. Raises UserError for what cannot be written in notes.
        """
        if self.score is not None:
            return self.score, ""
        assert self.performance is not None, "a piece holds a score or a performance"
        try:
            notation = score_of_performance(self.performance, grid)
        except NotationError as error:
            raise UserError(f"{self.name}: {error}") from None
        return notation.score, notation.approximate

    def played(self) -> Performance:
        """The performance. Raises UserError for a score that is too long to play."""
        if self.performance is not None:
            return self.performance
        assert self.score is not None, "a piece holds a score or a performance"
        try:
            return read_midi(write_midi(self.score))
        except NotationError as error:
            raise UserError(f"{self.name}: {error}") from None


def read_piece(path: Path | None, tune: int | None = None) -> Piece:
    """The piece in a file, or in what comes by standard input for None; of a tunebook number `tune`.

    Raises UserError for what cannot be read, and OSError.
    """
    name = "-" if path is None else str(path)
    form = FORMS.get(path.suffix.lower() if path else "", "")
    limit = LIMITS[form] if form else max(LIMITS.values())
    content = read_bytes(path, limit)
    form = form or _form(content)
    if tune is not None and form != ABC:
        raise UserError(f"{name}: --tune chooses from a tunebook of ABC, and this is {form}")
    return piece_of(content, name, form, tune)


def piece_of(content: bytes, name: str, form: str, tune: int | None = None) -> Piece:
    """The piece in the content of a file of one of the forms, which errors call `name`. Raises UserError."""
    if len(content) > LIMITS[form]:
        raise FileError(f"{name}: more than {LIMITS[form] >> 10} KiB of {form}; split the file")
    if form == ABC:
        return _abc(content, name, tune)
    try:
        return READERS[form](content, name)
    except (UserError, NotationError) as error:
        raise UserError(f"{name}: {error}") from None


def read_score(path: Path | None, tune: int | None = None) -> Score:
    """The piece in a file as it is written. Raises like `read_piece`."""
    return read_piece(path, tune).written()[0]


def read_performance(path: Path | None, tune: int | None = None) -> Performance:
    """The piece in a file as it is played. Raises like `read_piece`."""
    return read_piece(path, tune).played()


def _form(content: bytes) -> str:
    """By what a file begins with; ABC where that says nothing."""
    if content[:4] in (b"MThd", b"RIFF"):
        return MIDI
    begin = content[:400].removeprefix(b"\xef\xbb\xbf").lstrip()
    if content[:2] == b"PK" or (begin.startswith(b"<") and (b"<score-" in begin or b"MusicXML" in begin)):
        return MUSICXML
    if begin.startswith((b"<bos>", b"<start>", b"# tokenizer:")):
        return TOKENS
    return JSON if begin.startswith(b"{") and b'"rwkv-music score"' in begin else ABC


def _abc(content: bytes, name: str, tune: int | None) -> Piece:
    text = decoded(content, name)
    refuse_foreign(text, name)
    picked, remark = pick_tune(text, tune, name)
    try:
        score = read_abc(picked)
    except NotationError as error:
        spot = f", tune {tune}" if tune else ""
        place = f":{error.place.line}:{error.place.column}" if error.place else ""
        raise UserError(f"{name}{spot}{place}: {error.message}") from None
    making = find_making(picked.encode())
    odd = len(score.warnings)
    oddities = f"{odd} oddit{'ies' if odd > 1 else 'y'}: rwkv-music check {name}" if odd else ""
    told = tuple(filter(None, (remark, oddities)))
    return Piece(name, score, remarks=(making.line(),) if making else (), told=told)


def _midi(content: bytes, name: str) -> Piece:
    played = read_midi(content)
    if not played.count:
        raise UserError("no note sounds in it")
    making = find_making(content)
    told = tuple(f"{name}: {repair}" for repair in played.repairs)
    return Piece(name, performance=played, remarks=(making.line(),) if making else (), told=told)


def _musicxml(content: bytes, name: str) -> Piece:
    # Only here: it needs music21.
    from rwkv_music.reading.musicxml import read_musicxml

    return Piece(name, read_musicxml(content))


def _json(content: bytes, name: str) -> Piece:
    score, remarks = read_json(decoded(content, name))
    return Piece(name, score, remarks=remarks)


def _tokens(content: bytes, name: str) -> Piece:
    played = read_tokens(decoded(content, name))
    if not played.count:
        raise UserError("no note sounds in it")
    return Piece(name, performance=played)


READERS: dict[str, Callable[[bytes, str], Piece]] = {MIDI: _midi, MUSICXML: _musicxml, JSON: _json, TOKENS: _tokens}
