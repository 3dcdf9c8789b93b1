"""What happens while a piece is being made, as it happens."""

from dataclasses import dataclass
from typing import TypeAlias

from rwkv_music.music.take import Take


@dataclass(frozen=True)
class Token:
    """The model has written a token."""

    # As a person sees it; "" for those of MIDI that are no note.
    text: str


@dataclass(frozen=True)
class Bar:
    """A bar line was written."""

    # By which `go_on(bar=...)` finds it again.
    number: int


@dataclass(frozen=True)
class Done:
    """All that was asked for is there; nothing follows."""

    take: Take


Event: TypeAlias = Token | Bar | Done
