"""Text strings of ABC: accents written with a backslash, named characters and numbers become plain Unicode."""

import html
import re
import unicodedata

# Combining marks by the sign that ABC writes before the letter, as in \'e and \"o.
MARKS = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    '"': "\u0308",
    "r": "\u030a",
    "v": "\u030c",
    "u": "\u0306",
    "H": "\u030b",
    "c": "\u0327",
    ";": "\u0328",
    "=": "\u0304",
    ".": "\u0307",
}
PAIRS = {"ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "aa": "å", "AA": "Å", "/o": "ø", "/O": "Ø"}
PAIRS |= {"/d": "đ", "/D": "Đ", "/l": "ł", "/L": "Ł", "TH": "Þ", "th": "þ", "DH": "Ð", "dh": "ð"}

ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|(ss|ae|AE|oe|OE|aa|AA|/[oOdDlL]|TH|th|DH|dh)|([`'^~\"rvuHc;=.])([A-Za-z])|([\\%&]))"
)
ENTITY = re.compile(r"&#?[A-Za-z0-9]{1,12};")


def plain(text: str) -> str:
    """The text with its escapes resolved and outer spaces dropped: "Caf\\\\'e" is "Café"."""
    text = text.strip()
    if "&" in text:
        text = ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    number, pair, mark, letter, literal = match.groups()
    if number:
        code = int(number, 16)
        return "\ufffd" if code < 32 or 0xD800 <= code < 0xE000 else chr(code)
    if pair:
        return PAIRS[pair]
    if mark:
        joined = unicodedata.normalize("NFC", letter + MARKS[mark])
        return joined if len(joined) == 1 else match[0]
    return literal
