"""Everything that is measured of a finished model: what tunes cost it, and how sound and how new its own tunes are."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rwkv_music_tokenizers.abc_tokens import decode
from rwkv_music_tokenizers.transpose import singable_shifts, transpose_abc
from rwkv_music_training.corpus.tunes import Tune, read_tunes
from rwkv_music_training.judging.abc2midi import find_abc2midi
from rwkv_music_training.judging.copying import longest_copies
from rwkv_music_training.judging.predictors import Predictor
from rwkv_music_training.judging.sharing import Sharing
from rwkv_music_training.judging.soundness import Soundness, judge
from rwkv_music_training.judging.tune_bits import Bits, evaluate
from rwkv_music_training.judging.writing import opening_of, write

# Longer tunes are cut, and counted as unfinished.
LONGEST = 2500
# What tunes are drawn with, as the pages say.
TEMPERATURE, TOP_P = 0.9, 0.95


@dataclass(frozen=True)
class Findings:
    """The measurements of one model."""

    # Bits by source, and of "all": of the validation tunes of tier A, and of all tiers.
    bits: dict[str, Bits]
    bits_all_tiers: dict[str, Bits]
    # Tunes that the model wrote, and how many of them it did not end.
    tunes: tuple[str, ...]
    unfinished: int
    seed: int
    # Soundness of these tunes, of the validation tunes of tier A, and of those of all tiers.
    sound: Soundness
    sound_real: Soundness
    sound_all_tiers: Soundness
    # What these tunes, and the validation tunes of tier A, share with the training tunes.
    shared: Sharing
    shared_real: Sharing
    # Training tunes, and texts that they make in all keys.
    known_tunes: int
    known_texts: int


def measure(predictor: Predictor, data: Path, count: int, seed: int, say: Callable[[str], None]) -> Findings:
    """Measure a model on the data folder. Raises CorpusError and JudgeError."""
    program = find_abc2midi()
    started = time.monotonic()

    def told(line: str) -> None:
        say(f"{time.monotonic() - started:4.0f} s  {line}")

    everything = read_tunes(data / "valid.jsonl.zst", ("A", "B"))
    real = [tune for tune in everything if tune.tier == "A"]
    bits = evaluate(predictor, real)
    told(f"{bits['all'].per_character:.4f} bits/char on {len(real)} validation tunes")
    bits_all_tiers = evaluate(predictor, everything)
    written = write(
        predictor,
        count,
        opening_of("abc"),
        masked=False,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        seed=seed,
        longest=LONGEST,
    )
    tunes = [decode(piece.ids.tolist()) for piece in written]
    told(f"{len(tunes)} tunes written, {sum(map(len, tunes)):,} characters")
    sound, sound_all_tiers = judge(tunes, program), judge([tune.text for tune in everything], program)
    of_tier_a = zip(everything, sound_all_tiers.verdicts, strict=True)
    sound_real = Soundness(tuple(verdict for tune, verdict in of_tier_a if tune.tier == "A"))
    told(f"{sound.bars_right:.1%} of bars and {sound.tunes_right:.1%} of tunes right")
    train = read_tunes(data / "train.jsonl.zst", ("A",))
    known = list(dict.fromkeys(body(text) for tune in train for text in in_all_keys(tune.text)))
    told(f"{len(known):,} texts from {len(train):,} training tunes in all their keys")
    stretches = longest_copies([body(text) for text in (*tunes, *(tune.text for tune in real))], known)
    told("compared")
    return Findings(
        bits,
        bits_all_tiers,
        tuple(tunes),
        sum(not piece.ended for piece in written),
        seed,
        sound,
        sound_real,
        sound_all_tiers,
        Sharing(tuple(stretches[:count])),
        Sharing(tuple(stretches[count:])),
        len(train),
        len(known),
    )


def body(text: str) -> str:
    """The music of a tune: what follows the line of its K: field."""
    return text[Tune("", "", "", text).body_start :]


def in_all_keys(text: str) -> Sequence[str]:
    """A tune in every key in which training may have shown it."""
    return [transpose_abc(text, shift) if shift else text for shift in singable_shifts(text)]
