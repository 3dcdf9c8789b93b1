"""Several takes at once: their pieces go through the model as one batch, and each comes out as it would alone."""

from collections.abc import Callable, Iterator, Sequence

import torch

from rwkv_music.compose import Piece, never
from rwkv_music.making import Run
from rwkv_music.model.state import State


def grow_together(
    pieces: Sequence[Piece], runs: Sequence[Sequence[Run]], stop: Callable[[], bool] = never
) -> Iterator[tuple[int, str]]:
    """Carry every piece on by its runs, one after the other; yield (place of the piece, token as a person sees it).

    All pieces are of one engine. `stop` is asked before every token of all. Raises SamplingError like `Piece.grow`.
    """
    waiting = {place: list(own) for place, own in enumerate(runs)}
    active = [place for place, piece in enumerate(pieces) if _start_next(piece, waiting[place])]
    try:
        while active and not stop():
            chosen = []
            for place in list(active):
                token = _choose(pieces[place], waiting[place])
                if token is None:
                    active.remove(place)
                else:
                    chosen.append((place, token))
            if chosen:
                _read([(pieces[place], token) for place, token in chosen])
            for place, token in chosen:
                yield place, pieces[place].manuscript.shown(token)
    finally:
        for place in active:
            pieces[place].finish()


def _start_next(piece: Piece, waiting: list[Run]) -> bool:
    if waiting:
        piece.start(waiting.pop(0))
        return True
    return False


def _choose(piece: Piece, waiting: list[Run]) -> int | None:
    """The next token of a piece, of its next run where one is over; None when all are."""
    while (token := piece.choose()) is None:
        piece.finish()
        if not _start_next(piece, waiting):
            return None
    return token


def _read(chosen: Sequence[tuple[Piece, int]]) -> None:
    engine = chosen[0][0].engine
    ids = torch.tensor([[token] for _, token in chosen])
    logits, states = engine.advance(ids, State.stack([piece.memory.state for piece, _ in chosen]))
    for row, (piece, token) in enumerate(chosen):
        piece.take(token, logits[row], states.pick([row]))
