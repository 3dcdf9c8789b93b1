"""What an output remembers of its making: one line, from which the piece can be made again."""

import contextlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music.sampling import SETTINGS, SamplingOptions
from rwkv_music_tokenizers.grammar import NO_LIMITS, Limits

MARK = "rwkv-music {"
FILE_LIMIT = 256 << 20
MARKS_LIMIT = 64
LINE_LIMIT = 1 << 20
# So that the line can stand in XML text and comments as it is; all of these occur inside JSON's strings only.
ESCAPES = {"&": "\\u0026", "<": "\\u003c", ">": "\\u003e", "--": "-\\u002d"}


class MakingError(UserError):
    """A file that does not remember how it was made."""


@dataclass(frozen=True)
class Run:
    """One stretch of composing: how tokens were drawn, and where it stopped. Raises ValueError for what is no limit."""

    options: SamplingOptions
    # Further bars that were asked for; None when none were.
    bars: int | None = None
    # The most further tokens.
    max_tokens: int = 2048
    # Further seconds that were asked for, at the tempo that the piece begins with.
    seconds: float | None = None
    # Where bars, seconds or tokens are reached, the piece is brought to its end; else it is cut there.
    close: bool = False
    # Whatever the model likes, valid or not.
    free: bool = False
    limits: Limits = NO_LIMITS
    # Tokens after which somebody stopped it; None when nobody did.
    cut: int | None = None

    def __post_init__(self):
        for name, value in (("bars", self.bars), ("max_tokens", self.max_tokens), ("cut", self.cut)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            if not whole and (value is not None or name == "max_tokens"):
                raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(f"seconds must be a number above 0, not {self.seconds!r}")

    def plain(self) -> dict[str, Any]:
        """The run as JSON data, without what is off."""
        told = {field.name: getattr(self, field.name) for field in fields(self)[3:]}
        kept = {name: x for name, x in told.items() if name != "limits" and x is not None and x is not False}
        if self.limits != NO_LIMITS:
            kept["limits"] = self.limits.plain()
        return {**self.options.plain(), "bars": self.bars, "max_tokens": self.max_tokens, **kept}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Run":
        """The run whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
        options = SamplingOptions.from_plain({name: plain[name] for name in SETTINGS if name in plain})
        told = {field.name: plain[field.name] for field in fields(cls)[1:] if field.name in plain}
        if not all(isinstance(told.get(name, False), bool) for name in ("close", "free")):
            raise ValueError("close and free are true or false")
        if "limits" in told:
            told["limits"] = Limits.from_plain(told["limits"])
        return cls(options, **told)


@dataclass(frozen=True)
class Making:
    """Everything that decides which piece comes out, on the same device, dtype and number of threads."""

    # Of this program.
    version: str
    # The name or path under which the model was opened, and the sha256 of its weights.
    model: str
    hash: str
    device: str
    dtype: str
    threads: int
    # In order; each goes on where the one before stopped.
    runs: tuple[Run, ...]
    # What the piece began with, as text.
    prompt: str

    @property
    def seed(self) -> int:
        return self.runs[-1].options.seed

    def line(self) -> str:
        """The making as one line of ASCII: `rwkv-music ` and a JSON object."""
        text = json.dumps({**asdict(self), "runs": [run.plain() for run in self.runs]})
        for plain, escaped in ESCAPES.items():
            text = text.replace(plain, escaped)
        return f"rwkv-music {text}"


def read_making(path: Path) -> Making:
    """The making that any output of ours remembers. Raises MakingError, or OSError."""
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise MakingError(f"{path}: larger than any output ({FILE_LIMIT >> 20} MiB)")
    making = find_making(content)
    if making is None:
        raise MakingError(f"{path}: no line in it says how it was made ('rwkv-music {{...}}')")
    return making


def find_making(content: bytes) -> Making | None:
    """The first making that stands in the content of an output; None when there is none."""
    if content.startswith(b"%PDF"):
        # Its strings have a backslash before every backslash and bracket.
        content = re.sub(rb"\\([\\()])", rb"\1", content)
    for found in _objects(content):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return _making(found)
    return None


def without_making(text: str) -> str:
    """ABC text without the comment lines in which an output remembers its making."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not (line.startswith("%") and line.lstrip("% ").startswith(MARK)))


def _objects(content: bytes) -> Iterator[Any]:
    """The JSON after each mark, also where a JSON file quotes the whole line once more."""
    decoder = json.JSONDecoder()
    for found in itertools.islice(re.finditer(re.escape(MARK.encode()), content), MARKS_LIMIT):
        start = found.end() - 1
        text = content[start : start + LINE_LIMIT].partition(b"\n")[0].decode("latin-1")
        with contextlib.suppress(ValueError, RecursionError):
            quoted = text.startswith('{\\"')
            yield decoder.raw_decode(decoder.raw_decode(f'"{text}')[0] if quoted else text)[0]


def _making(plain: dict[str, Any]) -> Making:
    runs = tuple(Run.from_plain(run) for run in plain["runs"])
    making = Making(**{**{field.name: plain[field.name] for field in fields(Making)}, "runs": runs})
    texts = (making.version, making.model, making.hash, making.device, making.dtype, making.prompt)
    threads = isinstance(making.threads, int) and 0 < making.threads <= 1024
    if not runs or not threads or not all(isinstance(text, str) for text in texts):
        raise ValueError("a making holds texts, a number of threads and at least one run")
    return making
