"""The body of a tune as a whole: music between fields, and the score that comes of it."""

from collections.abc import Sequence

from rwkv_music_tokenizers.abc_fields import (
    read_key,
    read_meter,
    read_program,
    read_tempo,
    read_unit,
    read_voice,
)
from rwkv_music_tokenizers.abc_header import field_letter, field_value, take_instruction, take_symbol
from rwkv_music_tokenizers.abc_lexer import Token
from rwkv_music_tokenizers.abc_lyrics import MOST_VERSES, aligned_symbols, sing
from rwkv_music_tokenizers.abc_music import Music
from rwkv_music_tokenizers.abc_symbols import decoration_name
from rwkv_music_tokenizers.abc_text import plain
from rwkv_music_tokenizers.score import Change, Remark, Score

# Fields that say something about the tune as a whole, not about a spot in its music.
SILENT = frozenset("rX+")


def read_body(music: Music, tokens: Sequence[Token]) -> None:
    """Read the music after a header; `tokens` holds one at least."""
    stream = iter(tokens)
    token = music.take(stream)
    while token is not None:
        music.interrupt(token)
        take_body_field(music, token)
        token = music.take(stream)
    music.end(tokens[-1])


def take_body_field(music: Music, token: Token) -> None:
    """Let a field inside the music take effect: in the voice being written, from here on."""
    letter, value, voice = field_letter(token), field_value(token), music.voice
    match letter:
        case "K" | "M" | "Q":
            _change(music, letter, value, token)
        case "L":
            unit = read_unit(value)
            if unit is None:
                music.header.warn(f"{token.text!r} is no note length (such as L:1/8)", token)
            else:
                voice.set_unit(unit)
        case "V":
            named = read_voice(value)
            if named:
                music.choose_voice(named)
        case "w":
            _lyrics(music, value, token)
        case "s":
            _symbols(music, value)
        case "W":
            music.header.words.append(plain(value))
        case "U" | "m":
            take_symbol(music.header, token)
        case "I":
            _instruction(music, value, "%%" if token.kind == "directive" else "I")
        case _ if letter not in SILENT:
            voice.change(Remark(letter, plain(value)))


def _change(music: Music, letter: str, value: str, token: Token) -> None:
    voice = music.voice
    item: Change | None
    if letter == "K":
        item = read_key(value, voice.key)
        if item:
            voice.set_key(item)
    elif letter == "M":
        item = read_meter(value)
        if item:
            voice.set_meter(item)
    else:
        item = read_tempo(value, voice.layer.rhythm.unit)
    if item:
        voice.change(item)
    else:
        music.header.warn(f"{token.text!r} cannot be read and is left out", token)


def _instruction(music: Music, text: str, letter: str) -> None:
    voice = music.voice
    program = read_program(text)
    if program is not None and not voice.sounded:
        voice.program = program
        return
    if text.startswith("propagate-accidentals"):
        take_instruction(music.header, text)
        for one in music.voices:
            one.reach = music.header.reach
    voice.change(Remark(letter, text))


def _lyrics(music: Music, value: str, token: Token) -> None:
    voice = music.voice
    if voice.verse >= MOST_VERSES:
        music.header.warn(f"more than {MOST_VERSES} verses under one line; this one is left out", token)
        return
    if not sing(voice.singable, value, voice.verse):
        music.header.warn("more syllables than notes; the rest is left out", token)
    voice.verse += 1


def _symbols(music: Music, value: str) -> None:
    voice = music.voice
    if voice.symbol_lines >= MOST_VERSES:
        return
    for note, symbol in aligned_symbols(voice.singable, value):
        if symbol[0] == '"':
            note.add_words(symbol)
        else:
            name = music.header.symbols.get(symbol) if len(symbol) == 1 else decoration_name(symbol)
            if name:
                note.add_decoration(name)
    voice.symbol_lines += 1


def finished_score(music: Music) -> Score:
    """The score of what was read; voices without music are left out."""
    header = music.header
    builders = [voice for voice in music.voices if voice.sounded]
    for voice in builders:
        if voice.program is None:
            voice.program = header.programs.get(voice.name, header.programs.get(""))
        if len(builders) > 1:
            voice.name = voice.name or "1"
    return Score(
        tuple(voice.part() for voice in builders),
        header.meter,
        header.key,
        header.tempo,
        music.voices.unit,
        tuple(header.fields),
        tuple(header.words),
        tuple(header.warnings),
    )
