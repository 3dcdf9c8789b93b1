"""The promise of a manuscript: the code of a model seen from the side of music."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from rwkv_music.works import Work
from rwkv_music_tokenizers.grammar import Grammar, Limits


class Manuscript(Protocol):
    """A prompt made ready. Frozen; the tokens that a model adds to it are kept by whoever composes."""

    @property
    def language(self) -> str:
        """Name of the tokenizer in a model's config."""
        ...

    @property
    def end(self) -> int:
        """The id that ends a piece."""
        ...

    @property
    def ends(self) -> frozenset[int]:
        """All ids that end it."""
        ...

    @property
    def prompt(self) -> str:
        """The complete prompt as text; it opens the same piece again."""
        ...

    @property
    def tempo(self) -> Fraction:
        """Quarters a minute at the beginning."""
        ...

    @property
    def weights(self) -> np.ndarray | None:
        """(V,): how much each token counts for a recipe's penalty when it comes; None: all count 1."""
        ...

    def heard(self) -> tuple[int, ...]:
        """What the model hears before its first own token."""
        ...

    def grammar(self, free: bool, limits: Limits) -> Grammar:
        """What may follow the prompt; `free`: only what is no music at all is kept out."""
        ...

    @property
    def beginning(self) -> str:
        """The prompt as a person sees it."""
        ...

    def shown(self, token: int) -> str:
        """A new token as a person sees it come."""
        ...

    def bars(self, made: Sequence[int], ended: bool) -> Fraction:
        """Bars of new music, those that `work` keeps."""
        ...

    def marks(self) -> list[int]:
        """Places in `heard()` at which a bar begins, or every two seconds where there are no bars; 1 at the least."""
        ...

    def notes(self, ids: Sequence[int]) -> int:
        """How many notes are struck in a stretch of tokens."""
        ...

    def work(self, made: Sequence[int], ended: bool) -> Work:
        """The piece with the new tokens, properly closed."""
        ...

    def plain(self) -> Mapping[str, Any]:
        """All of it as JSON data."""
        ...
