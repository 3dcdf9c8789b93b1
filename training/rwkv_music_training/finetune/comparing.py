"""The model before and after: what the pieces held out cost it, and what it writes from the same beginnings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.judging.predictors import Predictor
from rwkv_music_training.judging.writing import Opening, opening_of, write
from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.telling.listening import keep, opening_with

# Documents that are read, and the tokens of each.
MOST_READ, LONGEST_READ = 200, 20_000
# Samples of each, and their tokens.
SAMPLES, LONGEST_SAMPLE = 3, 700


@dataclass(frozen=True)
class Cost:
    """What documents cost a model: bits a token (in ABC a token is a character), ends included."""

    tokens: int
    bits: float

    @property
    def per_token(self) -> float:
        """Bits a token."""
        return self.bits / max(1, self.tokens)


def cost_of(predictor: Predictor, documents: Documents) -> Cost:
    """What the documents cost from a fresh state; of many, the first that MOST_READ allows."""
    count = min(MOST_READ, len(documents.lengths))
    guesses = predictor.read([documents.read(index)[:LONGEST_READ] for index in range(count)])
    return Cost(sum(len(guess.bits) for guess in guesses), math.fsum(float(guess.bits.sum()) for guess in guesses))


@dataclass(frozen=True)
class Comparison:
    """What the pieces held out cost before and after."""

    code: str
    before: Cost
    after: Cost

    def words(self) -> str:
        """Both in words."""
        unit = "character" if self.code == "abc" else "token"
        change = self.after.per_token / self.before.per_token - 1 if self.before.per_token else 0.0
        return f"{self.before.per_token:.3f} bits a {unit} before, {self.after.per_token:.3f} after ({change:+.1%})"


def openings_of(documents: Documents, code: str) -> list[Opening]:
    """How samples begin: in ABC with the fields of pieces held out (rhythm, meter, key), elsewhere with nothing."""
    if code not in ("abc", "notes"):
        return []
    if code != "abc":
        return [opening_of(code)] * SAMPLES
    texts = [AbcTokenizer().decode(documents.read(index).tolist()) for index in range(len(documents.lengths))]
    heads = [text[: text.index("\n", text.index("K:")) + 1] for text in texts if "K:" in text]
    return [opening_with(code, heads[number % len(heads)]) for number in range(SAMPLES)]


def write_samples(
    predictor: Predictor, openings: Sequence[Opening], code: str, folder: Path, config: TrainingConfig
) -> None:
    """A piece from each beginning, under the grammar: folder/1.abc and so on, with MIDI and a piano roll."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, opening in enumerate(openings, start=1):
        (piece,) = write(
            predictor,
            1,
            opening,
            masked=True,
            temperature=config.habits.temperature,
            top_p=config.habits.top_p,
            seed=config.seed + number,
            longest=LONGEST_SAMPLE,
        )
        keep(np.asarray(piece.ids), code, folder / str(number))
