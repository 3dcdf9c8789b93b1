"""What a model writes by itself, many pieces at once, with the masks of its grammar or without any."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rwkv_music.manuscripts.wishes import NO_WISHES
from rwkv_music.prompts import NOTHING, open_source
from rwkv_music_tokenizers.abc_grammar import AbcGrammar
from rwkv_music_tokenizers.abc_tokens import AbcTokenizer
from rwkv_music_tokenizers.grammar import NO_LIMITS, Ending, Grammar
from rwkv_music_tokenizers.note_grammar import NoteGrammar
from rwkv_music_tokenizers.note_vocabulary import BOS, EOS
from rwkv_music_training.judging.predictors import Predictor

# Pieces that are written together.
ROWS = 32
# A masked piece that has come to its longest is given so many ids more to close its bar.
TO_CLOSE = 512


@dataclass(frozen=True, eq=False)
class Written:
    """One piece of a model."""

    # (n,) int64: the document, with what begins it and, if it came to that, what ends it.
    ids: np.ndarray
    ended: bool


@dataclass(frozen=True)
class Opening:
    """How a code begins and ends a piece, and what may follow in it."""

    ids: tuple[int, ...]
    end: int
    grammar: Grammar


def opening_of(language: str) -> Opening:
    """Nothing but what begins a document. Raises UserError for a code that needs what is not installed."""
    if language == "abc":
        tokenizer = AbcTokenizer()
        return Opening((tokenizer.bos,), tokenizer.eos, AbcGrammar(""))
    if language == "notes":
        return Opening((BOS,), EOS, NoteGrammar([BOS]))
    manuscript = open_source(NOTHING, language, NO_WISHES)
    return Opening(tuple(manuscript.heard()), manuscript.end, manuscript.grammar(False, NO_LIMITS))


def write(
    predictor: Predictor,
    count: int,
    opening: Opening,
    *,
    masked: bool,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 1,
    longest: int = 2048,
    closing: bool = True,
) -> list[Written]:
    """`count` pieces from nothing, each up to its end or `longest` ids; every ROWS draw from their own generator.

    masked: only what the grammar allows is drawn; closing: a masked piece of `longest` ids is brought to its end.
    """
    return [
        piece
        for start in range(0, count, ROWS)
        for piece in _together(
            predictor,
            min(ROWS, count - start),
            opening,
            [opening.grammar.clone() for _ in range(min(ROWS, count - start))] if masked else [],
            temperature,
            top_p,
            torch.Generator().manual_seed(1000 * seed + start // ROWS),
            longest,
            TO_CLOSE if masked and closing else 0,
        )
    ]


@torch.no_grad()
def _together(
    predictor: Predictor,
    count: int,
    opening: Opening,
    grammars: Sequence[Grammar],
    temperature: float,
    top_p: float,
    generator: torch.Generator,
    longest: int,
    more: int,
) -> list[Written]:
    rows: list[list[int]] = [list(opening.ids) for _ in range(count)]
    ended = [False] * count
    logits, memory = predictor.begin(opening.ids, count)
    alive = list(range(count))
    for place in range(longest + more):
        if grammars:
            logits, keep = _masked(logits, [grammars[row] for row in alive], closing=place >= longest)
        else:
            keep = list(range(len(alive)))
        drawn = draw(logits[keep], temperature, top_p, generator).tolist() if keep else []
        going: list[int] = []
        for at, token in zip(keep, drawn, strict=True):
            row = alive[at]
            rows[row].append(token)
            if token == opening.end:
                ended[row] = True
            else:
                going.append(at)
                if grammars:
                    grammars[row].follow(token)
        if not going:
            break
        tokens = torch.tensor([rows[alive[at]][-1] for at in going])
        logits, memory = predictor.follow(tokens, memory, going)
        alive = [alive[at] for at in going]
    return [Written(np.array(ids, dtype=np.int64), done) for ids, done in zip(rows, ended, strict=True)]


def _masked(logits: torch.Tensor, grammars: Sequence[Grammar], closing: bool) -> tuple[torch.Tensor, list[int]]:
    """Logits of what may follow, and the rows in which anything may."""
    allowed = []
    for grammar in grammars:
        grammar.ending = Ending.MUST if closing else Ending.MAY
        allowed.append(grammar.allowed())
    masks = np.stack(allowed)
    return logits.masked_fill(~torch.from_numpy(masks), -torch.inf), np.flatnonzero(masks.any(axis=1)).tolist()


def draw(logits: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator) -> torch.Tensor:
    """One id a row, from the smallest set of ids whose probabilities reach `top_p`. logits: (B, V); returns (B,)."""
    probabilities, order = torch.softmax(logits.float() / temperature, dim=-1).sort(dim=-1, descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    place = torch.multinomial(probabilities.masked_fill(before >= top_p, 0.0), 1, generator=generator)
    return order.gather(1, place)[:, 0]
