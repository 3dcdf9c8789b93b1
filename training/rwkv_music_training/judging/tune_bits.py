"""How many bits a character costs a model: whole tunes from a fresh state, and the music after the K: line alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rwkv_music_training.corpus.tunes import Tune, document
from rwkv_music_training.judging.predictors import Predictor
from rwkv_music_training.judging.readings import Cost


@dataclass(frozen=True)
class Bits:
    """What some tunes cost: `text` for their characters, `end` for their end tokens, `body` for what follows K:."""

    tunes: int
    characters: int
    text: float
    end: float
    body_characters: int
    body: float

    @property
    def per_character(self) -> float:
        """All bits, end tokens included, over characters and end tokens: the number we quote."""
        return (self.text + self.end) / (self.characters + self.tunes)

    @property
    def per_text_character(self) -> float:
        """The bits of the characters over the characters: end tokens left out on both sides."""
        return self.text / self.characters

    @property
    def per_body_character(self) -> float:
        """The same as `per_character` for the music after the K: line."""
        return (self.body + self.end) / (self.body_characters + self.tunes)

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Bits a character: of everything, and of the music."""
        return (
            Cost("valid", "valid_bits_per_character", self.per_character),
            Cost("valid body", "valid_body_bits_per_character", self.per_body_character),
        )

    def __add__(self, other: "Bits") -> "Bits":
        return Bits(
            self.tunes + other.tunes,
            self.characters + other.characters,
            self.text + other.text,
            self.end + other.end,
            self.body_characters + other.body_characters,
            self.body + other.body,
        )


NOTHING = Bits(0, 0, 0.0, 0.0, 0, 0.0)


def token_bits(predictor: Predictor, tunes: Sequence[Tune]) -> list[np.ndarray]:
    """The cost in bits of every character and of the end token of each tune: a float64 vector a tune."""
    return [guess.bits for guess in predictor.read([document(tune.text) for tune in tunes])]


def evaluate(predictor: Predictor, tunes: Sequence[Tune]) -> dict[str, Bits]:
    """The cost of the tunes by source, and of all of them under "all"."""
    by_source: dict[str, Bits] = {}
    for tune, costs in zip(tunes, token_bits(predictor, tunes), strict=True):
        bits = Bits(
            tunes=1,
            characters=len(costs) - 1,
            text=float(costs[:-1].sum()),
            end=float(costs[-1]),
            body_characters=len(costs) - 1 - tune.body_start,
            body=float(costs[tune.body_start : -1].sum()),
        )
        by_source[tune.source] = by_source.get(tune.source, NOTHING) + bits
    return {"all": sum(by_source.values(), NOTHING), **dict(sorted(by_source.items()))}
