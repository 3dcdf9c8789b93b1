"""What may be asked for, as JSON."""

import base64
import binascii
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from rwkv_music.errors import UserError
from rwkv_music.opening import PROMPT_LIMIT
from rwkv_music.sampling import MAX_SEED
from rwkv_music_app.wants import LONGEST_FIELD, MOST_BARS, MOST_BYTES, MOST_TAKES, Begin, GoOn, Wish

Short = Annotated[str, Field(max_length=LONGEST_FIELD)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PieceWish(_Strict):
    """How a piece begins: from nothing, from ABC, or from a file. What is left out is left to the model."""

    model: Short = Field("", description="one of GET /v1/models; left out, the one that suits the beginning")
    abc: str = Field("", max_length=PROMPT_LIMIT, description="a tune as ABC")
    file: str = Field("", max_length=MOST_BYTES * 4 // 3 + 4, description="a .abc, .mid or .musicxml file in base64")
    name: Short = Field("", description="what the file is called; its suffix tells its form")
    key: Short = Field("", examples=["D", "Am"])
    meter: Short = Field("", examples=["6/8"])
    tempo: Short = Field("", examples=["120"])
    rhythm: Short = Field("", description="a kind of tune", examples=["jig"])
    title: Short = ""
    instruments: Short = Field("", description="players of an ensemble", examples=["violin,cello"])
    style: Short = Field(
        "", description="of the model, by name, or a mix", examples=["mazurka", "mazurka:0.7+lead-sheet:0.3"]
    )
    prompt_bars: int | None = Field(None, ge=1, le=100_000, description="hear only so many bars of the beginning")

    def begin(self) -> Begin:
        """The same, read. Raises UserError."""
        if self.abc.strip() and self.file:
            raise UserError("a piece begins with abc or with a file, not with both")
        try:
            content = base64.b64decode(self.file, validate=True)
        except (binascii.Error, ValueError):
            raise UserError("file: not base64") from None
        return Begin(text=self.abc, content=content, **self.model_dump(exclude={"abc", "file"}))


class TakesWish(_Strict):
    """How a piece goes on, and from where."""

    take: int | None = Field(None, ge=0, description="go on from this take; left out, from the current one")
    bar: int | None = Field(None, ge=0, description="from behind this bar line; left out, from the end")
    instead_of: int | None = Field(
        None, ge=0, description="another way: other takes than this one, from where it began"
    )
    bars: int | None = Field(16, ge=1, le=MOST_BARS, description="null goes on until the model ends the piece")
    takes: int = Field(1, ge=1, le=MOST_TAKES, description="so many at once, each with the next seed")
    end: bool = Field(False, description="brought to its end after these bars, rather than cut")
    seed: int | None = Field(None, ge=0, le=MAX_SEED - MOST_TAKES, description="left out, one is drawn")
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    compass: Short = Field("", description="a range of notes", examples=["C3-C6"])
    scale: Short = Field("", description="keep to the notes of this key", examples=["Edor"])
    drums: bool = True
    polyphony: int | None = Field(None, ge=1, le=128, description="so many notes at once at the most")

    def wish(self, key: str = "") -> Wish:
        """The same, read. Raises UserError."""
        if self.instead_of is not None and (self.take is not None or self.bar is not None):
            raise UserError("instead_of says from where: leave take and bar out")
        how = GoOn(**{name: getattr(self, name) for name in GoOn.__dataclass_fields__})
        return Wish(how, self.take, self.bar, self.instead_of, key)


class PieceAndTakesWish(_Strict):
    """A piece and its first takes in one."""

    piece: PieceWish = PieceWish()  # type: ignore[call-arg]
    takes: TakesWish = TakesWish()  # type: ignore[call-arg]
