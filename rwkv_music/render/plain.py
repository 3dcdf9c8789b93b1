"""Scores as plain data (JSON) and back: every field by its name, lengths as exact fractions.

`docs/score-json.md` describes the format. A field that has its default is left out; an item of a bar says what it is
under "kind". Warnings and places in the source are not kept.
"""

import json
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from rwkv_music.render.errors import RenderError
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Event, Meter, Remark, Score, Tempo

FORMAT = "rwkv-music score"
VERSION = 1
KINDS = {"event": Event, "key": Key, "meter": Meter, "tempo": Tempo, "remark": Remark}
NAMES = {made: name for name, made in KINDS.items()}
# Digits of a fraction's number above or below the line.
LONGEST_NUMBER = 18


def write_json(score: Score, remarks: Sequence[str] = ()) -> str:
    """The score as JSON text, with the remarks on how it was made."""
    whole = {"format": FORMAT, "version": VERSION, "remarks": list(remarks), "score": to_plain(score)}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def read_json(text: str) -> tuple[Score, tuple[str, ...]]:
    """(score, remarks) from what `write_json` wrote. Raises RenderError for anything else, naming the place."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RenderError(f"not JSON: {error}") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        raise RenderError(f'not a score: the file should say "format": "{FORMAT}"')
    if whole.get("version") != VERSION:
        raise RenderError(f"this score has version {whole.get('version')}; version {VERSION} can be read")
    remarks = _read(whole.get("remarks", []), tuple[str, ...], "remarks")
    return _read(whole.get("score"), Score, "score"), remarks


def to_plain(value: Any) -> Any:
    """Dataclasses as dictionaries, fractions as "3/2", tuples as lists; the rest as it is."""
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple):
        return [to_plain(one) for one in value]
    if not is_dataclass(value):
        return value
    made = type(value)
    plain = {"kind": NAMES[made]} if made in NAMES else {}
    for name, default in _defaults(made):
        content = getattr(value, name)
        if content != default:
            plain[name] = to_plain(content)
    return plain


@lru_cache
def _defaults(made: type) -> tuple[tuple[str, Any], ...]:
    """(name, default) of the fields that are kept."""
    return tuple((one.name, one.default) for one in fields(made) if one.compare)


def _read(value: Any, wanted: Any, place: str) -> Any:
    """`value` as the type `wanted`, which is one that occurs in a Score."""
    origin = typing.get_origin(wanted)
    if origin is tuple:
        return _read_tuple(value, typing.get_args(wanted), place)
    if origin in (typing.Union, types.UnionType):
        return _read_union(value, typing.get_args(wanted), place)
    if wanted is Fraction:
        return _read_fraction(value, place)
    if is_dataclass(wanted) and isinstance(wanted, type):
        return _read_object(value, wanted, place)
    if type(value) is not wanted:
        raise RenderError(f"{place}: {getattr(wanted, '__name__', wanted)} expected, not {_shown(value)}")
    return value


def _read_tuple(value: Any, parts: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RenderError(f"{place}: a list expected, not {_shown(value)}")
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(_read(one, parts[0], f"{place}[{number}]") for number, one in enumerate(value))
    if len(value) != len(parts):
        raise RenderError(f"{place}: {len(parts)} entries expected, not {len(value)}")
    pairs = enumerate(zip(value, parts, strict=True))
    return tuple(_read(one, part, f"{place}[{number}]") for number, (one, part) in pairs)


def _read_union(value: Any, choices: tuple[Any, ...], place: str) -> Any:
    if value is None and type(None) in choices:
        return None
    left = [choice for choice in choices if choice is not type(None)]
    if len(left) == 1:
        return _read(value, left[0], place)
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or KINDS.get(kind) not in left:
        raise RenderError(f'{place}: "kind" should be one of {", ".join(KINDS)}')
    return _read(value, KINDS[kind], place)


def _read_fraction(value: Any, place: str) -> Fraction:
    numbers = value.removeprefix("-").split("/") if isinstance(value, str) else []
    if not 1 <= len(numbers) <= 2 or not all(
        one.isascii() and one.isdigit() and len(one) <= LONGEST_NUMBER for one in numbers
    ):
        raise RenderError(f'{place}: a fraction such as "3/2" expected, not {_shown(value)}')
    if len(numbers) == 2 and not int(numbers[1]):
        raise RenderError(f"{place}: a fraction over nothing: {value}")
    return Fraction(value)


def _read_object(value: Any, wanted: type, place: str) -> Any:
    if not isinstance(value, dict):
        raise RenderError(f"{place}: an object expected, not {_shown(value)}")
    known = _fields(wanted)
    unknown = sorted(set(value) - set(known) - ({"kind"} if wanted in NAMES else set()))
    if unknown:
        raise RenderError(f"{place}: there is no {unknown[0]!r} in {_shown_type(wanted)}")
    missing = [name for name, (one, _type) in known.items() if one.default is MISSING and name not in value]
    if missing:
        raise RenderError(f"{place}: {missing[0]!r} is missing")
    return wanted(**{name: _read(value[name], known[name][1], f"{place}.{name}") for name in known if name in value})


@lru_cache
def _fields(wanted: type) -> dict[str, tuple[Field[Any], Any]]:
    """Field name -> (field, type), of the fields that are kept."""
    hints = typing.get_type_hints(wanted)
    return {one.name: (one, hints[one.name]) for one in fields(wanted) if one.compare}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _shown_type(wanted: type) -> str:
    return f"a {NAMES.get(wanted, wanted.__name__.lower())}"
