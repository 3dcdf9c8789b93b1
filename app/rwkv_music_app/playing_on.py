"""How a tune that grows is played: what its first bars sound like is kept, and only the bars after a seam are played anew."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rwkv_music.works import Tune, Work
from rwkv_music_tokenizers.chords import parse_chord
from rwkv_music_tokenizers.errors import Place
from rwkv_music_tokenizers.keys import Key
from rwkv_music_tokenizers.measures import Measure, measures
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_tokenizers.midi_writer import MAX_QUARTERS, TICKS, write_midi
from rwkv_music_tokenizers.performance import Performance, Track, rows
from rwkv_music_tokenizers.playing import DYNAMICS
from rwkv_music_tokenizers.score import Bar, Event, Meter, Score, Tempo
from rwkv_music_tokenizers.unfold import unfold

# Written bars at the end that may still change, or lie too near to what does.
UNSETTLED = 4
# Bars before the last settled one among which a seam is looked for; the fewest that are worth one, and the most behind one
# until another is looked for.
SEARCHED, FEWEST, MOST = 64, 8, 12


@dataclass(frozen=True)
class _Head:
    """Bars up to a seam, and all that they are read from."""

    text: str
    frame: Score
    places: tuple[Place | None, ...]
    seam: Measure
    key: Key
    played: Performance


class PlayingOn:
    """Plays one tune at each of its lengths; `play` gives what its `performance` would."""

    def __init__(self) -> None:
        self._head: _Head | None = None

    def play(self, tune: Tune, unfolded: Score) -> Performance:
        """unfolded: the score of the tune, repeats played out. Raises NotationError for a tune that is too long."""
        head = self._head
        if head is not None and not _begins(head, tune, unfolded):
            head = None
        bars = sum(len(part.bars) for part in unfolded.parts)
        if bars - (len(head.places) if head else 0) > MOST:
            head = _head(tune, unfolded, head) or head
        self._head = head
        return (head and _after(head, unfolded)) or tune.performance

    def played(self, work: Work) -> Performance:
        """The same of any work. Raises NotationError."""
        return self.play(work, unfold(work.score)) if isinstance(work, Tune) else work.performance


def _after(head: _Head, unfolded: Score) -> Performance | None:
    """The head, and behind it the other bars of a score; None for more than can be played."""
    begin = int(head.seam.onset * TICKS)
    tempo = Tempo(Fraction(60_000_000, int(head.played.tempos[-1, 1])))
    tail = _with_bars(unfolded, unfolded.parts[0].bars[len(head.places) :])
    tail = replace(tail, meter=head.seam.meter, key=head.key, tempo=tempo)
    last = measures(tail)[0][-1]
    if head.seam.onset + last.onset + last.length > MAX_QUARTERS:
        return None
    return _joined(head.played, read_midi(write_midi(tail)), begin)


def _begins(head: _Head, tune: Tune, unfolded: Score) -> bool:
    """The tune begins with the same bars, read from the same text."""
    return (
        tune.abc.startswith(head.text)
        and _can_be_cut(tune.abc, len(head.text))
        and _with_bars(unfolded, ()) == head.frame
        and len(unfolded.parts[0].bars) > len(head.places)
        and head.places == tuple(bar.place for bar in unfolded.parts[0].bars[: len(head.places)])
    )


def _head(tune: Tune, unfolded: Score, before: _Head | None) -> _Head | None:
    """The most bars after which there is a seam, more than those `before`; None where there is none, or not yet."""
    written = [bar.place for bar in tune.score.parts[0].bars if bar.place is not None]
    if len(unfolded.parts) != 1 or len(written) < FEWEST:
        return None
    end = _offset(tune.abc, written[-UNSETTLED // 2])
    bars = unfolded.parts[0].bars
    settled = set(written[:-UNSETTLED])
    first = next((number for number, bar in enumerate(bars) if bar.place not in settled), len(bars))
    seams, key = measures(unfolded)[0], unfolded.key
    plain = _plain_bars(bars[:first])
    symbols = any(event.chord for bar in bars[:plain] for event in _events(bar))
    fewest = len(before.places) if before else FEWEST
    for count in range(min(plain, len(bars) - 1), max(fewest, plain - SEARCHED), -1):
        if _is_seam(bars[count - 1], bars[count], seams[count], symbols) and _can_be_cut(tune.abc, end):
            begin = _with_bars(unfolded, bars[:count])
            played = (before and _after(before, begin)) or read_midi(write_midi(begin))
            if played.end > seams[count].onset * TICKS:
                continue
            keys = [item for bar in bars[:count] for item in bar.items if isinstance(item, Key)]
            key = replace(keys[-1], properties=key.properties) if keys else key
            places = tuple(bar.place for bar in bars[:count])
            return _Head(tune.abc[:end], _with_bars(unfolded, ()), places, seams[count], key, played)
    return None


def _plain_bars(bars: Sequence[Bar]) -> int:
    """How many bars there are before one which says how loud, or in what clef, all goes on."""
    for number, bar in enumerate(bars):
        clef = any(isinstance(item, Key) and item.properties for item in bar.items)
        if clef or any(name in DYNAMICS for event in _events(bar) for name in event.decorations):
            return number
    return len(bars)


def _is_seam(before: Bar, after: Bar, measure: Measure, symbols: bool) -> bool:
    """Nothing sounds over the line between two bars, nothing changes at it, and the second is a whole measure."""
    changed = any(isinstance(item, (Key, Meter, Tempo)) for layer in (after.items, *after.overlays) for item in layer)
    full = measure.meter.bar is not None and measure.length >= measure.meter.bar
    # Ticks are rounded to even ones where they lie between two.
    on_tick = (measure.onset * TICKS / 2).denominator == 1
    tied = any(tone.tied for event in _events(before) for tone in event.tones)
    # What accompanies a bar is known in it where its first chord stands at its beginning.
    first = next(iter(after.events), None)
    known = not symbols or (first is not None and parse_chord(first.chord) is not None)
    return full and on_tick and known and not changed and not tied


def _events(bar: Bar) -> list[Event]:
    return [item for layer in (bar.items, *bar.overlays) for item in layer if isinstance(item, Event)]


def _can_be_cut(text: str, place: int) -> bool:
    """Nothing after a place stands for signs over notes that may come before it."""
    return "\ns:" not in text[place:]


def _with_bars(score: Score, bars: tuple[Bar, ...]) -> Score:
    return replace(score, parts=(replace(score.parts[0], bars=bars), *score.parts[1:]), warnings=())


def _offset(text: str, place: Place) -> int:
    lines = text.split("\n")[: place.line - 1]
    return sum(len(line) + 1 for line in lines) + place.column - 1


def _joined(first: Performance, second: Performance, begin: int) -> Performance:
    """One performance after another that begins at a tick, and goes on in the tempo, meter and key of the first."""
    tracks = tuple(_moved(track, begin) for track in second.tracks)
    told = {}
    for name in ("tempos", "meters", "keys"):
        earlier, later = getattr(first, name), getattr(second, name)
        moved = np.array(later[later[:, 0] > 0])
        moved[:, 0] += begin
        told[name] = rows(np.concatenate([earlier, moved]), earlier.shape[1])
    return replace(first, tracks=(*first.tracks, *tracks), **told)


def _moved(track: Track, ticks: int) -> Track:
    notes, pedals = np.array(track.notes), np.array(track.pedals)
    notes[:, :2] += ticks
    return replace(track, notes=rows(notes, 4), pedals=rows(pedals + ticks, 2))
