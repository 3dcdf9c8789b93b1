"""What an output remembers of its making: one line, from which the piece can be made again."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music.sampling import LATER, SETTINGS, SamplingOptions

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
    """One stretch of composing: how tokens were drawn, and where it stopped."""

    options: SamplingOptions
    # Further bars that were asked for; None when the model was free to end the tune.
    bars: int | None
    # The most further tokens; when somebody stopped the run, the tokens that it made.
    max_tokens: int

    def __post_init__(self):
        for name, value in (("bars", self.bars), ("max_tokens", self.max_tokens)):
            if value is None and name == "bars":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be a whole number, 0 or more, not {value!r}")

    def plain(self) -> dict[str, Any]:
        """The run as JSON data."""
        return {**self.options.plain(), "bars": self.bars, "max_tokens": self.max_tokens}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Run":
        """The run whose `plain()` this was. Raises ValueError, KeyError or TypeError when it is none."""
        options = {name: plain[name] for name in SETTINGS if name in plain or name not in LATER}
        return cls(SamplingOptions.from_plain(options), plain["bars"], plain["max_tokens"])


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
    # The ABC that the piece began with.
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
