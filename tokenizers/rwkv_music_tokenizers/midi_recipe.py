"""How the makers of the published MIDI models draw, token by token: what repeats is made less likely, an end comes.

Source: ChatRWKV `music/run.py`, which RWKV-Runner and faster-rwkv follow. For the n-th token after the prompt, from 0:
each token's logit loses `penalty` times its count; `end` gets (n - end_from) / end_every; `biases` are added. Then a
token is drawn; all counts are multiplied by `penalty_decay`, and the drawn token's count grows by its weight. Tokens of
the prompt are not counted. Whoever goes on with a piece keeps n and the counts.

The piano model's makers (MIDI-LLM-tokenizer, its streaming scripts) instead divide a logit by `repetition` to the power
of the token's count, or multiply it where it is below 0, by `repetition_most` at most, and count the last `window`
tokens alone, waits not at all; they count those of the prompt too, which we do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rwkv_music_tokenizers.midi_words import FIRST_NOTE, SECOND, MidiWords

# What a logit gets so that its token is not drawn.
NEVER = -1e10


@dataclass(frozen=True, eq=False)
class MidiRecipe:
    """What is done to the logits of a vocabulary before a token is drawn."""

    # (V,) float64, read-only: how much a token counts each time it is drawn.
    weights: np.ndarray
    penalty: float = 0.0
    penalty_decay: float = 1.0
    # 1 is off; window 0 counts all tokens.
    repetition: float = 1.0
    repetition_most: float = 1.0
    window: int = 0
    # The separator that ends a piece; end_every 0 is off.
    end: int = 0
    end_from: float = 0.0
    end_every: float = 0.0
    # Tokens, and what their logits always get.
    biases: tuple[tuple[int, float], ...] = ()


def midi_recipe(words: MidiWords, sampling: Mapping[str, float], releases: bool = False) -> MidiRecipe:
    """The recipe that a published model's `sampling` tells, fields that it lacks being off.

    A note and a wait of a second count 1, all else `penalty_wait`. With `releases` they count like notes, exactly as
    in the published programs, which makes it less likely that a key comes up; without, they count nothing. Under a
    penalty of repetition waits count nothing, and the pad, which its makers ban, never comes.
    """
    repetition = float(sampling.get("repetition_penalty", 1.0))
    weights = np.full(words.vocabulary_size, float(sampling.get("penalty_wait", 1.0)))
    weights[SECOND:] = 1.0
    if not releases:
        weights[FIRST_NOTE :: words.levels] = 0.0
    if repetition != 1:
        weights[:FIRST_NOTE] = 0.0
    weights.flags.writeable = False
    bias = float(sampling.get("longest_wait_bias", 0.0))
    biases = ((SECOND, bias),) if bias else ()
    return MidiRecipe(
        weights=weights,
        penalty=float(sampling.get("penalty", 0.0)),
        penalty_decay=float(sampling.get("penalty_decay", sampling.get("repetition_decay", 1.0))),
        repetition=repetition,
        repetition_most=float(sampling.get("repetition_most", 1.0)),
        window=int(sampling.get("repetition_window", 0)),
        end=words.eos,
        end_from=float(sampling.get("end_from", 0.0)),
        end_every=float(sampling.get("end_every", 0.0)),
        biases=(*biases, (words.pad, NEVER)) if repetition != 1 else biases,
    )
