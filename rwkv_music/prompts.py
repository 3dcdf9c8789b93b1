"""What a person gives to begin with, as ABC or as a performance, made ready in the code that a model speaks."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from rwkv_music.counting import PIECES, BarCount
from rwkv_music.errors import UserError
from rwkv_music.files import FileError, decoded, read_text, refuse_foreign
from rwkv_music.library import find_model
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.manuscripts.wishes import NO_WISHES, Wishes
from rwkv_music.opening import DEFAULT_KEY
from rwkv_music.reading.pieces import FORMS, MIDI, Piece, piece_of, read_piece
from rwkv_music.terminal import without_controls
from rwkv_music.tunebook import pick_tune
from rwkv_music.works import Played, Tune
from rwkv_music_tokenizers.abc_writer import write_abc
from rwkv_music_tokenizers.performance import Performance

# A name that ends so is meant as a file, whether there is one or not.
FILE_NAME = re.compile(r"\.(abc|txt|xml|musicxml|mxl|json|mid|midi|kar|rmi|tokens)$", re.IGNORECASE)
ABC_SIGN = re.compile(r"\||^[ \t]*[A-Za-z]:", re.MULTILINE)
LONGEST_NAME = 4096


@dataclass(frozen=True, eq=False)
class Source:
    """Music to begin with: as ABC, as a performance, or as both where a file holds notes that are written."""

    # ABC, one tune.
    text: str | None = None
    performance: Performance | None = None
    path: Path | None = None
    # What the person should know about it.
    remarks: tuple[str, ...] = ()


NOTHING = Source()


def read_source(prompt: str, tune: int | None = None) -> Source:
    """What --prompt and --tune give: a file, standard input ("-"), or ABC itself. Raises UserError, or OSError."""
    named = prompt != "-" and "\n" not in prompt and "\0" not in prompt and len(prompt) < LONGEST_NAME
    path = Path(prompt) if named and Path(prompt).is_file() else None
    if named and path is None and FILE_NAME.search(prompt):
        raise FileError(f"{prompt}: there is no such file")
    if path is not None and path.suffix.lower() in FORMS:
        return replace(_source(read_piece(path, tune)), path=path)
    return _read_tune(_text_of(prompt, path), tune, path)


def performance_source(content: bytes, name: str) -> Source:
    """The music in the content of a MIDI file, called `name`. Raises UserError."""
    return _source(piece_of(content, name, MIDI))


def content_source(content: bytes, name: str) -> Source:
    """The music in the content of a file called `name`, whose suffix tells its form. Raises UserError."""
    form = FORMS.get(Path(name).suffix.lower(), "")
    return _source(piece_of(content, name, form)) if form else abc_source(decoded(content, name), name)


def abc_source(text: str, name: str = "the prompt") -> Source:
    """The first tune in ABC text, which is never taken for the name of a file. Raises UserError."""
    return _read_tune(text, None, None, name)


def _source(piece: Piece) -> Source:
    """A piece as a prompt."""
    if piece.score is None:
        return Source(performance=piece.performance, remarks=piece.told)
    return Source(write_abc(piece.score), piece.played(), remarks=piece.told)


def _text_of(prompt: str, path: Path | None) -> str:
    if prompt == "-" or path is not None:
        return read_text(path)
    if not ABC_SIGN.search(prompt):
        raise UserError(f"--prompt {prompt[:60]!r} is neither a file nor ABC (a field such as K:D, or a bar line)")
    # A shell makes it hard to type the end of a line.
    return prompt if "\n" in prompt else prompt.replace("\\n", "\n")


def _read_tune(text: str, tune: int | None, path: Path | None, name: str = "the prompt") -> Source:
    name = str(path or name)
    refuse_foreign(text, name)
    picked, remark = pick_tune(without_controls(text), tune, name)
    if not ABC_SIGN.search(picked):
        raise UserError(f"{name} holds no ABC: neither a field such as K:D nor a bar line")
    return Source(picked, path=path, remarks=(remark,) if remark else ())


def language_of_model(name: str) -> str:
    """The code that a model speaks, by its config or by its size. Raises like `Engine.open`, and UserError for none."""
    from rwkv_music.manuscripts.choose import check_size

    files = find_model(name)
    if files.config is not None:
        return files.config.tokenizer
    from rwkv_music.checkpoint.load import load_weights
    from rwkv_music.model.versions import read_spec, shapes_of

    return check_size("", read_spec(shapes_of(load_weights(files.weights))).vocabulary)


def open_source(source: Source, language: str, wishes: Wishes) -> Manuscript:
    """The manuscript that goes on from a source, or begins a piece where there is none. Raises UserError."""
    if language == "abc":
        return _open_abc(source, wishes)
    played = None if source is NOTHING else sounding(source)
    if language == "notes":
        from rwkv_music.manuscripts.open_notes import open_notes

        return open_notes(played, wishes)
    if language == "remi":
        from rwkv_music.manuscripts.open_remi import open_remi

        return open_remi(played, wishes)
    from rwkv_music.manuscripts.open_words import open_words

    return open_words(language, played, wishes)


def open_again(language: str, prompt: str) -> Manuscript:
    """The manuscript whose `prompt` this was. Raises UserError for what is none."""
    if language == "abc":
        return _open_abc(Source(without_controls(prompt)), NO_WISHES)
    from rwkv_music.manuscripts.choose import manuscript_of

    plain = {"prompt": prompt, "title": ""}
    if language in ("midi", "midipiano"):
        from rwkv_music.manuscripts.open_words import separators

        plain |= dict(zip(("begin", "end"), separators(language), strict=True))
    try:
        return manuscript_of(language, plain)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the prompt that was remembered cannot be used: {str(error)[:200]}") from None


def _open_abc(source: Source, wishes: Wishes) -> Manuscript:
    from rwkv_music.manuscripts.abc import AbcManuscript
    from rwkv_music.opening import open_tune

    if wishes.instruments or wishes.only:
        raise UserError(
            "a model of tunes writes one melody: leave --instruments and --only out, or choose a model of MIDI (-m)"
        )
    header = wishes.header
    if source is NOTHING:
        key, kind = header.key or DEFAULT_KEY, header.rhythm or "tune"
        title = header.title or kind.capitalize() + (f" in {key}" if key.lower() != "none" else "")
        return AbcManuscript(open_tune("", replace(header, title=title)))
    text = written(source)
    if wishes.prompt_bars is not None:
        text = first_bars(text, wishes.prompt_bars)
    return AbcManuscript(open_tune(text, header))


def first_bars(text: str, bars: int) -> str:
    """The beginning of a tune in ABC: so many bars, as musicians count them."""
    count = BarCount()
    for piece in PIECES.finditer(text):
        count.follow(piece[0])
        if count.bars >= bars:
            return text[: piece.end()]
    return text


def sounding(source: Source) -> Performance:
    """What a source sounds like. Raises NotationError for ABC that cannot be played."""
    return source.performance if source.performance is not None else Tune(source.text or "").performance


def written(source: Source) -> str:
    """A source as ABC. Raises NotationError for a performance that cannot be written."""
    if source.text is not None:
        return source.text
    assert source.performance is not None, "a source holds ABC or a performance"
    return Played(source.performance).abc
