"""The decorations of ABC: short letters, full names, and what U: makes of a letter."""

import re

SHORT = {
    ".": "staccato",
    "~": "roll",
    "H": "fermata",
    "L": "accent",
    "M": "lowermordent",
    "O": "coda",
    "P": "uppermordent",
    "S": "segno",
    "T": "trill",
    "u": "upbow",
    "v": "downbow",
}
# Other spellings of the same sign.
SAME = {
    ">": "accent",
    "emphasis": "accent",
    "mordent": "lowermordent",
    "pralltriller": "uppermordent",
    "plus": "+",
    "<(": "crescendo(",
    "<)": "crescendo)",
    ">(": "diminuendo(",
    ">)": "diminuendo)",
}
USER_SYMBOL = re.compile(r"\s*([H-Wh-w~])\s*=\s*(?:[!+]([^\s!|\[\]\":]{1,40})[!+]|\"([^\"]{1,200})\"?)")


def decoration_name(text: str) -> str:
    """The name of a decoration written "!name!" or "+name+"."""
    name = text[1:-1]
    return SAME.get(name, name)


def read_user_symbol(text: str) -> tuple[str, str] | None:
    """A U: value as (letter, meaning): a decoration's name, '"^text"' for an annotation, "" for none."""
    match = USER_SYMBOL.match(text)
    if not match:
        return None
    if match[3]:
        return match[1], f'"{match[3]}"'
    name = SAME.get(match[2], match[2])
    return match[1], "" if name in ("nil", "none") else name
