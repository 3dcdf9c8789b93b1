"""How a piece is put into notes."""

from dataclasses import dataclass
from typing import Literal

from rwkv_music_tokenizers.note_vocabulary import KINDS


@dataclass(frozen=True)
class NoteOptions:
    """Raises ValueError for a choice that there is not."""

    # "grid": bars and 1/24 quarters; "perf": 10 ms, as played; "auto": the grid where the notes lie on it.
    clock: Literal["auto", "grid", "perf"] = "auto"
    # The sustain pedal: "fold" makes the notes that it holds longer (as played; on the grid it is dropped), "keep"
    # writes it down, "drop" leaves it out.
    pedal: Literal["fold", "keep", "drop"] = "fold"
    # One of `KINDS`; "" for what the instruments say.
    kind: str = ""
    # Keep the parts that play nothing: what a prompt needs that only names its instruments.
    silent: bool = False

    def __post_init__(self) -> None:
        for name, chosen, choices in (
            ("clock", self.clock, ("auto", "grid", "perf")),
            ("pedal", self.pedal, ("fold", "keep", "drop")),
            ("kind", self.kind, ("", *KINDS)),
        ):
            if chosen not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices[choices[0] == '' :])}, not {chosen!r}")
