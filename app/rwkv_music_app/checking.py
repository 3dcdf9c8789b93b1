"""What does not add up in ABC that is being typed, with line and column."""

from rwkv_music.opening import PROMPT_LIMIT
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.bars import check_bars
from rwkv_music_tokenizers.errors import NotationError

MOST_FAULTS = 20


def faults_of(text: str) -> list[str]:
    """A line for each mistake and each bar of a wrong length; nothing for a tune that holds none."""
    if not text.strip():
        return []
    if len(text) > PROMPT_LIMIT:
        return [f"{len(text):,} characters; at most {PROMPT_LIMIT:,} can be continued"]
    try:
        score = read_abc(text)
    except NotationError as error:
        return [str(error)]
    found = [(fault.place, fault.message) for fault in check_bars(score)]
    found += [(warning.place, warning.message) for warning in score.warnings]
    lines = [
        (place.line, place.column, f"line {place.line}, column {place.column}: {words}")
        for place, words in found
        if place
    ]
    return [words for *_, words in sorted(lines)][:MOST_FAULTS]
