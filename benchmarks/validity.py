"""How many of the pieces that a model writes under its grammar are valid, how often, how fast, and at what cost.

    python benchmarks/validity.py abc-folk --pieces 2000
    python benchmarks/validity.py midi-score --pieces 2000
    python benchmarks/validity.py random:midi --pieces 2000      # random weights: a worst case

`random:` goes with abc, remi, notes, midipiano and midi.

Every piece is read by our own reader, by mido, by symusic and, if it is a tune, by abc2midi; its bars are added up, its
keys followed. The same is told of pieces that were written without a grammar, and how surprising both are to the model
itself, so that one sees whether the grammar moves what is sampled.
"""

import argparse
import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import symusic
import torch

from rwkv_music.compose import Piece
from rwkv_music.engine import Engine
from rwkv_music.judging import surprise
from rwkv_music.making import Run
from rwkv_music.manuscripts.choose import LANGUAGES, language_of
from rwkv_music.manuscripts.wishes import NO_WISHES
from rwkv_music.model.initial import initial_weights, new_spec
from rwkv_music.prompts import NOTHING, open_source
from rwkv_music.running import choose_runner
from rwkv_music.sampling import SamplingOptions
from rwkv_music.takes import grow_together
from rwkv_music.works import Played, Tune
from rwkv_music_tokenizers.abc_reader import read_abc
from rwkv_music_tokenizers.bars import check_bars
from rwkv_music_tokenizers.errors import NotationError
from rwkv_music_tokenizers.midi_reader import read_midi
from rwkv_music_training.judging.abc2midi import abc2midi_errors, find_abc2midi, kind_of

AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or file, or random:LANGUAGE")
    parser.add_argument("--pieces", type=int, default=200)
    parser.add_argument("--free", type=int, default=0, metavar="N", help="also N pieces without a grammar")
    parser.add_argument("--tokens", type=int, default=0, help="after which a piece is brought to its end")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, help="write the results as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine = random_engine(options.model[7:]) if options.model.startswith("random:") else Engine.open(options.model)
    results = {
        "model": options.model,
        "under the grammar": measure(engine, options, free=False, count=options.pieces),
    }
    if options.free:
        results["free"] = measure(engine, options, free=True, count=options.free)
    print(json.dumps(results, indent=1))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def random_engine(language: str) -> Engine:
    """A small RWKV-7 of random weights for a vocabulary."""
    generator = torch.Generator().manual_seed(0)
    spec = new_spec(1, 64, LANGUAGES[language])
    weights = initial_weights(spec, generator)
    noisy = {name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}
    return Engine(spec, choose_runner(spec, noisy, "cpu", "float32"))


def measure(engine: Engine, options: argparse.Namespace, *, free: bool, count: int) -> dict[str, Any]:
    """Write pieces and find what is wrong with them."""
    random = options.model.startswith("random:")
    settings = SamplingOptions(top_p=1.0, temperature=1.0, seed=options.seed) if random else usual(engine, options.seed)
    tokens = options.tokens or (150 if random else 1024)
    manuscript = open_source(NOTHING, language_of(engine), NO_WISHES)
    start = Piece.begin(engine, manuscript, settings)
    faults: Counter[str] = Counter()
    made, bits, valid_bits, valid = 0, [0.0, 0], [0.0, 0], 0
    seconds = 0.0
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        pieces = [start.branch() for _ in numbers]
        runs = [
            [Run(replace(settings, seed=options.seed + number), max_tokens=tokens, close=True, free=free)]
            for number in numbers
        ]
        begun = time.process_time()
        for _ in grow_together(pieces, runs):
            pass
        seconds += time.process_time() - begun
        for piece in pieces:
            made += piece.length
            found = list(wrong(piece))
            faults.update(found)
            own = surprise(engine, [*piece.memory.tokens, manuscript.end])[piece.prompt_length - 1 :]
            for held in (bits, *([valid_bits] if not found else [])):
                held[0] += float(own.sum())
                held[1] += len(own)
            valid += not found
    return {
        "pieces": count,
        "valid": valid,
        "faults": dict(faults.most_common()),
        "tokens": made,
        "tokens_per_cpu_second": round(made / seconds, 1),
        "bits_per_token": round(bits[0] / max(1, bits[1]), 4),
        "bits_per_token_of_valid": round(valid_bits[0] / max(1, valid_bits[1]), 4),
    }


def usual(engine: Engine, seed: int) -> SamplingOptions:
    """The settings that the model's config names."""
    known = engine.config.sampling if engine.config else {}
    return SamplingOptions(**{**known, "seed": seed})


def wrong(piece: Piece) -> Iterator[str]:
    """Everything that is wrong with a piece, in words."""
    if not piece.ended:
        yield "has not ended"
    work = piece.work()
    if isinstance(work, Tune):
        yield from wrong_tune(work)
    else:
        yield from hanging(piece)
    try:
        content = work.midi()
    except (NotationError, ValueError) as error:
        yield f"no MIDI: {error}"
        return
    if isinstance(work, Played):
        yield from wrong_midi(work, content)


def wrong_tune(work: Tune) -> Iterator[str]:
    """What our reader and abc2midi find wrong with a tune."""
    try:
        score = read_abc(work.abc)
    except NotationError as error:
        yield f"our reader: {error.message}"
        return
    for warning in score.warnings:
        yield f"our reader: {warning.message}"
    for _fault in check_bars(score):
        yield "a bar that does not add up"
    for error in abc2midi_errors(work.abc, find_abc2midi()):
        yield f"abc2midi: {kind_of(error)}"


def hanging(piece: Piece) -> Iterator[str]:
    """Keys that are pressed twice or never released, in codes that press and release."""
    if piece.manuscript.language not in ("midi", "midipiano"):
        return
    levels = {"midi": 12, "midipiano": 16}[piece.manuscript.language]
    down: set[int] = set()
    for token in piece.made:
        if token >= 128:
            key, level = divmod(token - 128, levels)
            if (key in down) == (level > 0):
                yield "a key that was down is pressed, or one that was up released"
            (down.add if level else down.discard)(key)
    if down:
        yield "a key that is never released"


def wrong_midi(work: Played, content: bytes) -> Iterator[str]:
    """What three readers of MIDI find wrong with a performance."""
    sounding: Counter[tuple[int, int]] = Counter()
    try:
        for message in mido.merge_tracks(mido.MidiFile(file=io.BytesIO(content)).tracks):
            if message.type in ("note_on", "note_off"):
                on = message.type == "note_on" and message.velocity > 0
                sounding[message.channel, message.note] += 1 if on else -1
                if not 0 <= sounding[message.channel, message.note] <= 1:
                    yield "mido: a note over a note"
    except (OSError, EOFError, ValueError, LookupError) as error:
        yield f"mido: {error}"
    if +sounding:
        yield "mido: a hanging note"
    count = work.performance.count
    score: Any = symusic.Score.from_midi(content)
    if sum(len(track.notes) for track in score.tracks) != count:
        yield "symusic: another number of notes"
    again = read_midi(content)
    if again.count != count or again.repairs:
        yield f"our reader: {'; '.join(again.repairs) or 'another number of notes'}"
    yield from overlapping(work)


def overlapping(work: Played) -> Iterator[str]:
    """Notes of one instrument and pitch that sound at once."""
    for track in work.performance.tracks:
        last: dict[int, int] = {}
        for start, end, pitch, _ in sorted(track.notes.tolist()):
            if last.get(pitch, -1) > start:
                yield "a note over a note"
            last[pitch] = end


if __name__ == "__main__":
    main()
