"""The takes of a session and which grew from which, as they are shown."""

from typing import Any

from rwkv_music.session import Take
from rwkv_music_app.sitting import Sitting


def picture(sitting: Sitting) -> dict[str, Any]:
    """The tree of takes, and where one is in it."""
    session = sitting.session
    return {
        "current": session.current,
        "title": sitting.title,
        "model": sitting.model,
        "redo": session.can_redo,
        "growing": sorted(sitting.growing),
        "takes": [_branch(sitting, take) for take in list(session.takes)],
    }


def fork_of(sitting: Sitting, take: Take) -> tuple[int, int | None]:
    """The take that a take went on from, and after which bar line; None from its end."""
    if take.parent is None:
        return 0, None
    parent = sitting.session.takes[take.parent].piece
    lengths = [moment.length - parent.prompt_length for moment in parent.moments] or [0]
    inside = take.after in lengths and take.after != parent.length
    return take.parent, lengths.index(take.after) if inside else None


def _branch(sitting: Sitting, take: Take) -> dict[str, Any]:
    """A take as the tree tells of it."""
    piece = take.piece
    lengths = [moment.length - piece.prompt_length for moment in list(piece.moments)] or [0]
    before = sum(length <= take.after for length in lengths)
    return {
        "take": take.number,
        "parent": take.parent,
        # Bar lines of new music before it went its own way.
        "from": max(0, before - 1),
        "bars": round(sitting.bars(take), 2) if take.number not in sitting.growing else 0,
        "seed": piece.stretches[-1][1].options.seed if piece.stretches else None,
        "kept": take.number in sitting.kept,
        # The token of a link to it; None where there is none.
        "shared": sitting.shared.get(take.number),
        "ended": piece.ended,
        "growing": take.number in sitting.growing,
    }
