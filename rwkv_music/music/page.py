"""What a notebook shows of a take: title, piano roll and sound in one piece of HTML that asks nothing of any network."""

import base64
import io
import wave
from bisect import bisect_left
from html import escape

import numpy as np
from numpy.typing import NDArray

from rwkv_music.instruments import DRUMS, programs
from rwkv_music.music.roll import MOST_NOTES, colours, roll
from rwkv_music.music.take import PlayedNote, Take
from rwkv_music.render.audio import render_wav
from rwkv_music.render.errors import RenderError
from rwkv_music.render.soundfonts import find_soundfont
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_writer import write_performance

# What sounds, so that a notebook grows by a few MB at most.
MOST_SECONDS = 60
LONGEST_TITLE = 200
BOX = "background:#fff;color:#222;max-width:980px;padding:8px;font-family:sans-serif;font-size:13px"


def page(take: Take) -> str:
    """A <div> of everything. What cannot be drawn or played is told in words."""
    head = f"<div><b>{escape(_title(take))}</b> {escape(_told(take))}</div>"
    try:
        notes = take.notes
    except NotationError as error:
        return _box(head, _remark(f"This cannot be played: {error}"))
    if not notes:
        return _box(head, _remark("No note sounds in it."))
    few = f"The first {MOST_NOTES:,} of {len(notes):,} notes are drawn." if len(notes) > MOST_NOTES else ""
    return _box(head, roll(notes), _legend(notes), _remark(few), _sound(take))


def _box(*parts: str) -> str:
    return f'<div style="{BOX}">{"".join(parts)}</div>'


def _remark(text: str) -> str:
    return f'<div style="color:#666">{escape(text)}</div>' if text else ""


def _title(take: Take) -> str:
    try:
        title = take.performance.title.strip()
    except NotationError:
        title = ""
    return title[:LONGEST_TITLE] or "Untitled"


def _told(take: Take) -> str:
    bars = round(take.bars, 2)
    return f"· {bars:g} new bar{'s' * (bars != 1)} · seed {take.seed} · {take.making.model}"


def _legend(notes: tuple[PlayedNote, ...]) -> str:
    names = {number: name for name, number in programs().items()}
    return "".join(
        f'<span style="margin-right:1em"><span style="color:{colour}">■</span> '
        f"{escape(DRUMS if drums else names[program])}</span>"
        for (program, drums), colour in colours(notes).items()
    )


def _sound(take: Take) -> str:
    """An <audio> of the beginning, or why there is none."""
    try:
        player = audio(take.performance, MOST_SECONDS)
    except RenderError as error:
        return _remark(f"No sound: {error}")
    cut = take.seconds > MOST_SECONDS
    return player + _remark(
        f"The first {MOST_SECONDS} of {take.seconds:.0f} seconds sound; save() writes all of it." * cut
    )


def audio(performance: Performance, seconds: float) -> str:
    """An <audio> of the first seconds of a performance, its sound in it. Raises RenderError where there is none."""
    heard = beginning(performance, seconds)
    content = smaller(render_wav(write_performance(heard), find_soundfont()))
    source = base64.b64encode(content).decode()
    return f'<audio controls style="width:100%" src="data:audio/wav;base64,{source}"></audio>'


def beginning(played: Performance, seconds: float) -> Performance:
    """The first seconds of a performance."""
    ticks = range(played.end)
    return played.until(bisect_left(ticks, seconds, key=lambda tick: float(played.seconds(np.array([tick]))[0])))


def smaller(content: bytes) -> bytes:
    """A WAV of 16 bits in stereo as mono of half the rate: a quarter of the bytes."""
    with wave.open(io.BytesIO(content)) as sound:
        rate = sound.getframerate()
        samples: NDArray[np.int16] = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
    mono = np.reshape(samples[: len(samples) // 4 * 4], (-1, 4)).mean(axis=1).round().astype("<i2")
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate // 2)
        sound.writeframes(mono.tobytes())
    return stream.getvalue()
