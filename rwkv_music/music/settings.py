"""What may be said of a piece by name: how it begins, and how it goes on."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypedDict, get_type_hints

from rwkv_music.manuscripts.wishes import Wishes
from rwkv_music.opening import Header
from rwkv_music_tokenizers.grammar import Limits


class Beginning(TypedDict, total=False):
    """How a piece begins, where the prompt does not say it."""

    # "D", "Am", "Edor", ...
    key: str
    # "4/4", "6/8", "C|", ...
    meter: str
    # Quarters a minute, or what Q: takes: 112, "3/8=100".
    tempo: int | str
    # Of a tune: "reel", "jig", "waltz", ...
    rhythm: str
    # Of a tune: its unit note length, "1/8".
    unit: str
    title: str
    # Who plays, for models of MIDI: "piano", "strings", "violin,cello,drums".
    instruments: str
    # Hear only so many bars of the prompt.
    prompt_bars: int
    # Which tune of a tunebook, from 1.
    tune: int


class How(TypedDict, total=False):
    """How a piece goes on. What is left out is as the model's makers want it, or off."""

    # Further bars, or further seconds; without either the model ends the piece.
    bars: int | None
    seconds: float | None
    # Stop after so many tokens whatever happens.
    max_tokens: int | None
    # Bring the piece to its end there instead of cutting it at a bar line; without a length this is so.
    end: bool | None
    # Whatever the model likes, valid or not.
    free: bool
    # What new music is kept to; see `read_limits`.
    limits: Limits
    # The same seed makes the same piece; without one it is drawn.
    seed: int | None
    # See `SamplingOptions`.
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    top_p_first: bool | None


# Those of `How` that `usual_run` takes; the others are of `SamplingOptions`.
OF_RUN = ("bars", "seconds", "max_tokens", "end", "free", "limits")
BEGINNING, HOW = (frozenset(get_type_hints(told)) for told in (Beginning, How))


def check_names(said: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises TypeError for a setting that there is none of."""
    if unknown := sorted(set(said) - known):
        raise TypeError(f"no setting is called {', '.join(unknown)}; there are {', '.join(sorted(known))}")


def wishes_of(said: Mapping[str, Any]) -> Wishes:
    """The wishes in settings of a `Beginning`. Raises UserError for those that are none."""
    header = Header(**{field.name: str(said.get(field.name) or "") for field in fields(Header)})
    bars = said.get("prompt_bars")
    if bars is not None and (not isinstance(bars, int) or bars < 1):
        raise ValueError(f"prompt_bars must be a whole number, 1 or more, not {bars!r}")
    return Wishes(header, said.get("instruments") or "", bars)
