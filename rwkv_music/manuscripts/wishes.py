"""What a person wishes of a piece besides the prompt: how it begins, and who plays."""

from dataclasses import dataclass

from rwkv_music.opening import Header


@dataclass(frozen=True)
class Wishes:
    """Each is off by default; what a code has no word for is told by whoever opens a manuscript of it."""

    header: Header = Header()
    # Names as `instruments.read_instruments` takes them.
    instruments: str = ""
    # Bars of the prompt that are heard; None for all.
    prompt_bars: int | None = None
    # The only instruments that new music is for (see `Limits.programs`); they play from the beginning.
    only: str = ""


NO_WISHES = Wishes()
