"""What a person wants of the studio: how a piece begins and how it goes on, within what one person may ask for."""

import hashlib
import json
from dataclasses import asdict, astuple, dataclass, fields, replace

from rwkv_music.errors import UserError
from rwkv_music.library import DEFAULT_MIDI_MODEL, DEFAULT_MODEL
from rwkv_music.limiting import read_limits
from rwkv_music.manuscripts.manuscript import Manuscript
from rwkv_music.manuscripts.wishes import Wishes
from rwkv_music.opening import Header
from rwkv_music.prompts import NOTHING, Source, abc_source, content_source, open_source
from rwkv_music_tokenizers.grammar import Limits

MOST_TAKES = 8
MOST_BARS = 256
# Of a file, and tokens of a prompt: heard within seconds.
MOST_BYTES = 4 << 20
MOST_PROMPT = 32_768
LONGEST_FIELD = 200


@dataclass(frozen=True)
class Begin:
    """How a piece begins; what is "" or None is left to the prompt or the model. Raises UserError for what is too long."""

    # "" chooses by what it begins with.
    model: str = ""
    # ABC, or the content of a file and what it is called; neither begins from nothing.
    text: str = ""
    content: bytes = b""
    name: str = ""
    key: str = ""
    meter: str = ""
    tempo: str = ""
    rhythm: str = ""
    title: str = ""
    instruments: str = ""
    # By name, or a mix as in "NAME:0.7+NAME:0.3".
    style: str = ""
    # Hear only so many bars of the prompt.
    prompt_bars: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self)[4:-1]:
            if len(getattr(self, field.name)) > LONGEST_FIELD:
                raise UserError(f"the {field.name} is one short line")
        if len(self.content) > MOST_BYTES:
            raise UserError(f"the file has more than {MOST_BYTES >> 20} MiB")

    @property
    def fingerprint(self) -> str:
        """The same for the same beginning."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:32]

    def source(self) -> Source:
        """The music in it. Raises UserError."""
        if self.content:
            return content_source(self.content, self.name or "the file")
        return abc_source(self.text, "your tune") if self.text.strip() else NOTHING

    def usual_model(self, source: Source) -> str:
        """The model that is asked for, or the one for what it begins with."""
        return self.model or (DEFAULT_MIDI_MODEL if self.instruments or source.performance else DEFAULT_MODEL)

    def manuscript(self, source: Source, language: str) -> Manuscript:
        """The prompt, made ready for a model's code. Raises UserError."""
        header = Header(self.key, self.meter, self.rhythm, "", self.title, self.tempo)
        bars = self.prompt_bars if source is not NOTHING else None
        manuscript = open_source(source, language, Wishes(header, self.instruments, bars))
        if len(manuscript.heard()) > MOST_PROMPT:
            raise UserError("this piece is long: let the model hear only its first bars (Advanced)")
        return manuscript


@dataclass(frozen=True)
class GoOn:
    """How a piece goes on. Raises UserError for more than one person may ask for."""

    # Further bars; None goes on until the model ends the piece.
    bars: int | None = 16
    takes: int = 1
    # Brought to its end there, rather than cut.
    end: bool = False
    # None draws one. Each take has the next.
    seed: int | None = None
    # None is as the model's makers want it.
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    # As `read_limits` takes them.
    compass: str = ""
    scale: str = ""
    drums: bool = True
    polyphony: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.takes <= MOST_TAKES:
            raise UserError(f"1 to {MOST_TAKES} takes at once")
        if self.bars is not None and not 1 <= self.bars <= MOST_BARS:
            raise UserError(f"1 to {MOST_BARS} bars at once; go on from there for more")

    def limits(self) -> Limits:
        """What new music is kept to. Raises UserError."""
        return read_limits(self.compass, self.scale, drums=self.drums, polyphony=self.polyphony)

    def sampling(self) -> dict[str, float | int | None]:
        """How tokens are drawn, as far as that is said."""
        names = ("seed", "temperature", "top_p", "top_k", "min_p")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Wish:
    """How a piece goes on, and from where; under a key it is granted once, however often it is asked for."""

    how: GoOn = GoOn()
    # None is the current take; the number of a bar line, None the end.
    take: int | None = None
    bar: int | None = None
    # Other takes than this one, from where it began.
    instead_of: int | None = None
    # Whatever its owner makes up, "" for none.
    key: str = ""

    @property
    def key_hash(self) -> str:
        """What is remembered of the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]

    @property
    def fingerprint(self) -> str:
        """The same for the same wish."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    def seeded(self) -> "Wish":
        """The wish whose seed is said: where it was not, it follows from the key, so that it is the same next time."""
        if not self.key or self.how.seed is not None:
            return self
        return replace(self, how=replace(self.how, seed=int(self.key_hash[:12], 16)))
