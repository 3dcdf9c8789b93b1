"""Scores to ABC text, standard 2.1, that reads back to the same score."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from rwkv_music_tokenizers.abc_field_text import (
    escaped,
    field_lines,
    key_text,
    meter_text,
    part_of_whole,
    raw,
    tempo_text,
)
from rwkv_music_tokenizers.abc_fields import read_program
from rwkv_music_tokenizers.abc_voice_text import REACHES, VoiceWriter
from rwkv_music_tokenizers.clefs import Staff, read_staff
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.score import Event, Part, Score

# After the last of these come meter, unit and tempo.
_FIRST_FIELDS = "TCR"
# Header fields that the score holds in another place, or that would end the header.
_TOLD_ELSEWHERE = frozenset("KLMQUVWXmrsw+")
# A comment sign that is not escaped yet.
_PERCENT = re.compile(r"(?<!\\)%")
_ESCAPED_PERCENT = r"\\%"
_VOICE_NAME = re.compile(r"[^\s%\\\]\"]{1,40}")


def write_abc(score: Score) -> str:
    """One tune in ABC. `read_abc` makes an equal score of it (and gives it the X: field that every tune must have).

    The header is X:, then the score's own fields in their order, with M:, L: and Q: after the last of T:, C: and R:,
    then the voices, and K:. Lengths count `score.unit`; accidentals stand where key, bar and ties do not say them;
    a line has four bars. What ABC cannot say is told as nearly as it can: lengths to 1/512 of a unit.
    """
    parts = _named(score)
    header = _Header(score, parts)
    lines = header.lines
    for number, part in enumerate(parts):
        if len(parts) > 1:
            lines.append(f"V:{part.name}")
        if part.program is not None and part.program != header.program(number):
            lines.append(f"%%MIDI program {part.program}")
        lines += VoiceWriter(score, part, header.reach).lines()
    for text in score.words:
        lines += field_lines("W", escaped(text))
    return "\n".join(lines) + "\n"


class _Header:
    """The header's lines, and what a reader takes from them: programs, and how far accidentals reach."""

    def __init__(self, score: Score, parts: Sequence[Part]):
        self.reach = "pitch"
        self._programs: dict[int, int] = {}
        self._voices = [_voice_line(part) for part in parts if part.name or part.properties]
        # How many voices the lines so far name.
        self._named = 0
        fields = [field for field in score.fields if field[0] == "%%" or _is_free(field[0])]
        first = max((number for number, (letter, _) in enumerate(fields, 1) if letter in _FIRST_FIELDS), default=0)
        self.lines = [f"X:{raw(score.header('X')) or 1}"]
        self._add_fields(fields[:first], parts)
        self.lines += [f"M:{meter_text(score.meter)}", f"L:{part_of_whole(score.unit)}"]
        if score.tempo and tempo_text(score.tempo):
            self.lines.append(f"Q:{tempo_text(score.tempo)}")
        self._add_fields(fields[first:], parts)
        self._name_voices(len(self._voices))
        self.lines.append(f"K:{key_text(score.key)}")

    def program(self, number: int) -> int | None:
        """The program that the header gives a part."""
        return self._programs.get(number, self._programs.get(-1))

    def _add_fields(self, fields: Sequence[tuple[str, str]], parts: Sequence[Part]) -> None:
        for letter, text in fields:
            if letter not in ("%%", "I"):
                self.lines += field_lines(letter, escaped(text))
                continue
            program = read_program(text)
            if program is not None:
                self._place_program(program, parts)
            words = text.split()
            if len(words) == 2 and words[0] == "propagate-accidentals" and words[1] in REACHES:
                self.reach = words[1]
            self.lines.append(("%%" if letter == "%%" else "I:") + raw(text))

    def _place_program(self, program: int, parts: Sequence[Part]) -> None:
        """Before a program that is not for every part, name the part that it is for."""
        if any(part.program is None for part in parts) and self._voices:
            wanted = [number for number, part in enumerate(parts) if part.program == program]
            later = [number for number in wanted if number >= self._named]
            self._name_voices(later[0] + 1 if later else 0)
        self._programs[self._named - 1] = program

    def _name_voices(self, count: int) -> None:
        """Write the V: lines of the first `count` parts, as far as they are not there yet."""
        self.lines += self._voices[self._named : count]
        self._named = max(self._named, count)


def _is_free(letter: str) -> bool:
    return len(letter) == 1 and letter.isascii() and letter.isalpha() and letter not in _TOLD_ELSEWHERE


def _named(score: Score) -> list[Part]:
    """The parts with names that ABC can tell apart; a lone part needs none."""
    if len(score.parts) == 1 and not score.parts[0].name and not _sounds_elsewhere(score, score.parts[0]):
        return list(score.parts)
    taken: set[str] = set()
    parts = []
    for part in score.parts:
        name, properties = part.name, part.properties
        if not _VOICE_NAME.fullmatch(name) or name in taken:
            free = (str(number) for number in range(1, len(score.parts) + len(taken) + 2))
            others = taken | {other.name for other in score.parts}
            name = next(number for number in free if number not in others)
            if part.name and "name=" not in properties:
                shown = raw(part.name).replace('"', "'")
                properties = f'{properties} name="{shown}"'.strip()
        if _sounds_elsewhere(score, part):
            told = read_staff(properties, Staff()).written_shift
            properties = f"{properties} transpose={part.transpose - told}".strip()
        taken.add(name)
        parts.append(replace(part, name=name, properties=properties))
    return parts


def _sounds_elsewhere(score: Score, part: Part) -> bool:
    """Neither the part's properties nor its first key's say how far from its notes it sounds."""
    opening = takewhile(lambda item: not isinstance(item, Event), part.bars[0].items if part.bars else ())
    keys = [score.key, *(item for item in opening if isinstance(item, Key))]
    staffs = [read_staff(part.properties, read_staff(key.properties, Staff())) for key in keys]
    return all(staff.sounding_shift != part.transpose and not staff.transpose for staff in staffs)


def _voice_line(part: Part) -> str:
    return f"V:{part.name} {_PERCENT.sub(_ESCAPED_PERCENT, raw(part.properties))}".rstrip()
