"""Session files that people bring: how much a stranger's file may hold, looked at before any of it is used."""

import json
from pathlib import Path
from typing import Any

from rwkv_music.engine import Engine
from rwkv_music.sealed import SealedError, header_of, read_beginning
from rwkv_music.session import Session
from rwkv_music.session_file import FORMAT, THING, load_session
from rwkv_music_app.wants import MOST_PROMPT

MOST_TAKES = 512
# Tokens of one take from the beginning; of all takes; and of those takes together whose state must be made again.
LONGEST = 2 * MOST_PROMPT
MOST_TOKENS = 2 << 20
MOST_READ = MOST_PROMPT


def model_of(path: Path) -> tuple[str, str]:
    """The name of the model that a session was made with, and its styles, if it holds no more than a stranger's may.

    Raises SealedError, or OSError.
    """
    header = header_of(path, read_beginning(path), FORMAT, THING)
    try:
        label = json.loads(header["__metadata__"]["label"])
        _check(label["takes"], header)
        # Where it was opened by its path, the studio knows it by its name.
        model, _, styles = str(label["model"]).partition("+")
        return (Path(model).stem if "/" in model else model), styles
    except SealedError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise SealedError("the session's label cannot be read") from None


def read_session(path: Path, engine: Engine) -> Session:
    """The session in a file that `model_of` let in. Raises SealedError, or OSError."""
    try:
        return load_session(path, engine)
    except (AttributeError, AssertionError, IndexError, OverflowError, RuntimeError):
        raise SealedError("the session cannot be used: it contradicts itself") from None


def _check(takes: list[dict[str, Any]], header: dict[str, Any]) -> None:
    if len(takes) > MOST_TAKES:
        raise SealedError(f"a session that is sent holds at most {MOST_TAKES} takes")
    prompt = int(header["prompt"]["shape"][0])
    lengths = [prompt + int(take["after"]) + int(header[f"{n}.tokens"]["shape"][0]) for n, take in enumerate(takes)]
    without = [length for n, length in enumerate(lengths) if f"{n}.logits" not in header]
    if prompt > MOST_PROMPT or max(lengths) > LONGEST or sum(lengths) > MOST_TOKENS:
        raise SealedError(f"a take that is sent holds at most {LONGEST:,} tokens, and all takes {MOST_TOKENS:,}")
    if sum(without) > MOST_READ:
        raise SealedError("this session holds takes without their state, which would take long to make again")
