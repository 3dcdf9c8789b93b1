"""The control codes of TunesFormer and the RWKV ABC models: how many sections, their bars, and how alike they are.

`S:` is the number of sections (1..8). Then, a section at a time: one `E:` for each section before it, how alike the
two are (0..10), and `B:`, its bars (1..32). A section ends with any of `:|`, `||`, `|]`, `::`, `|:`, `[|`.
"""

import re

import numpy as np

MOST_SECTIONS = 8
MOST_BARS = 32
# The published models read 1,024 characters; a text this much longer has no codes.
LONGEST_BODY = 8192

_SECTION_END = re.compile(r"(:\||\|\||\|\]|::|\|:|\[\|)")
_SECTION_SIGNS = ":|[] \n"
# Lines that the published models never saw. "G:" stays, as in their data.
_UNSEEN = frozenset("ABCDEFHNORrSTWwXZ")
_SPLIT_REPEAT = re.compile(r":\|[ \t]*\n[ \t]*\|:|:\|[ \t]*\|:|:\|{1,2}:")


def join_repeats(text: str) -> str:
    """A tune whose section ends and starts are written as one sign: `:|` and, next, `|:` become `::`.

    Without it such a pair counts as a section of its own, as it does in the reference.
    """
    return _SPLIT_REPEAT.sub("::", text)


def seen_text(text: str) -> str:
    """The lines of a tune that the published models saw: no titles, lyrics or comments, and no blank ends."""
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        field = line[1:2] == ":" and line[0] in _UNSEEN
        if line.strip() and not field and not line.startswith("%"):
            lines.append(line.partition("%")[0])
    seen = "\n".join(lines).strip()
    return _end_lone_section(seen)


def sections(text: str) -> list[str]:
    """The sections of a tune's body, each with the sign that ends it; joined they are the body."""
    found: list[str] = []
    opened = False
    pieces = _SECTION_END.split(_body(seen_text(text)))
    for music, sign in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        # Signs that open the tune belong to its first section; an ending's number goes on with the section before.
        if found and (not opened or music[:1].isdigit()):
            found[-1] += music + sign
        elif music or sign:
            found.append(music + sign)
        opened = opened or bool(music.strip(_SECTION_SIGNS))
    return found


def control_codes(text: str) -> str | None:
    """The codes of a tune, a line each; None when it has more sections or bars than codes can say, or none at all."""
    if len(_body(seen_text(text))) > LONGEST_BODY:
        return None
    parts = sections(text)
    if not 0 < len(parts) <= MOST_SECTIONS:
        return None
    codes = [f"S:{len(parts)}\n"]
    for index, part in enumerate(parts):
        bars = 1 + _SECTION_END.sub("|", part.strip(_SECTION_SIGNS)).count("|")
        if bars > MOST_BARS:
            return None
        codes += [f"E:{likeness(before, part)}\n" for before in parts[:index]]
        codes.append(f"B:{bars}\n")
    return "".join(codes)


def published_text(text: str) -> str | None:
    """A tune as the published models were trained on it: its codes, then `seen_text`; None when it has no codes."""
    codes = control_codes(text)
    return None if codes is None else codes + seen_text(text)


def likeness(first: str, second: str) -> int:
    """How alike two sections are, 0..10: ten times 1 - edit distance / length of the longer, rounded half to even."""
    longer = max(len(first), len(second))
    return round(10 * (1 - edit_distance(first, second) / longer)) if longer else 10


def edit_distance(first: str, second: str) -> int:
    """Levenshtein's distance, a row of the table at a time: O(len(first) * len(second))."""
    columns = np.frombuffer(second.encode("utf-32-le"), np.uint32)
    places = np.arange(len(second) + 1)
    row = places
    for number, character in enumerate(first, 1):
        replaced = row[:-1] + (columns != ord(character))
        row = np.concatenate(([number], np.minimum(replaced, row[1:] + 1)))
        # Insertions run along the row: the best start to the left, plus the way from it.
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


def _body(text: str) -> str:
    """What follows the first K: line."""
    lines = text.split("\n")
    key = next((number for number, line in enumerate(lines) if line.startswith("K:")), -1)
    return "\n".join(lines[key + 1 :])


def _end_lone_section(text: str) -> str:
    """A body without any section sign ends with "|]" in the reference's data, where it ended with "|"."""
    if text.endswith("|") and not _SECTION_END.search(_body(text)):
        return text + "]"
    return text
