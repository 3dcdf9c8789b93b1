"""Music on a grid of bars, as two published RWKV models read it: RWKV-Runner's REMI and MIDI-RWKV's MMM, by MidiTok."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from rwkv_music_tokenizers.performance import END, PITCH, START, VELOCITY, Performance
from rwkv_music_tokenizers.symusic_scores import from_symusic

if TYPE_CHECKING:
    from miditok import MusicTokenizer
    from symusic.types import Score

# The longest piece, and the finest division, that fit what MidiTok counts with.
LONGEST = 2**31 - 1
MAX_QUARTERS = 200_000
# MIDI-RWKV's file of 16000 pieces is far below.
MAX_BYTES = 32 << 20
EVERY_PROGRAM = [*range(128), -1]


class GridTokenizer:
    """A tokenizer of MidiTok, for performances. Time is rounded to its grid, and it knows no pedal."""

    def __init__(self, name: str, tokenizer: "MusicTokenizer"):
        self.name = name
        self.tokenizer = tokenizer
        self.vocabulary_size = int(tokenizer.vocab_size)
        self.pad = self._special("PAD_None")
        self.bos = self._special("BOS_None")
        self.eos = self._special("EOS_None")

    def _special(self, word: str) -> int | None:
        """The id of a separator; None in a vocabulary without."""
        vocabulary: Any = self.tokenizer.vocab
        return vocabulary.get(word)

    def encode(self, performance: Performance) -> list[int]:
        """Ids of a piece; of one moment, in the order of pitch. Raises ValueError for a piece too long to be counted."""
        return self.encode_score(_score(performance))

    def encode_score(self, score: "Score") -> list[int]:
        """Ids of a score of symusic, exactly as the published programs make them: of one moment, in its own order."""
        encoded: Any = self.tokenizer.encode(score)
        return list(encoded.ids)

    def decode(self, ids: Iterable[int]) -> Performance:
        """The music of ids; what makes no note in its place is passed over. Raises ValueError for unknown ids."""
        from miditok import TokSequence

        numbers: list[Any] = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < self.vocabulary_size:
                raise ValueError(f"an id of {self.name} must be in range 0..{self.vocabulary_size - 1}, not {number}")
        score: Any = self.tokenizer.decode(TokSequence(ids=numbers, are_ids_encoded=self.tokenizer.is_trained))
        return from_symusic(score.sort())


def runner_remi() -> GridTokenizer:
    """RWKV-Runner's REMI, 427 ids: bar, position, program, chord, pitch, velocity, duration; neither tempo nor meter."""
    _require_miditok()
    from miditok import REMI, TokenizerConfig

    config = TokenizerConfig(
        pitch_range=(21, 109),
        beat_res={(0, 4): 8, (4, 12): 4},
        num_velocities=32,
        use_chords=True,
        use_programs=True,
        use_time_signatures=False,
        program_changes=True,
        programs=EVERY_PROGRAM,
        use_note_duration_programs=EVERY_PROGRAM,
    )
    return GridTokenizer("remi", REMI(config))


def load_mmm(path: Path) -> GridTokenizer:
    """The MMM tokenizer of MIDI-RWKV from the tokenizer.json that comes with it.

    Raises ValueError where there is none or it is another's: its vocabulary was learnt, no rule gives it.
    """
    _require_miditok()
    from miditok import MMM

    if not path.is_file():
        raise ValueError(f"{path}: no such file; a model that speaks MMM needs the tokenizer.json that it came with")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: a tokenizer of MMM has at most {MAX_BYTES:,} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = content.get("tokenization") if isinstance(content, dict) else None
        if kind != "MMM":
            raise ValueError(f"a tokenizer of {kind or 'another kind'}")
        _check_pieces(content.get("_model"))
        tokenizer = MMM(params=path)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: expected a tokenizer.json that MidiTok wrote for MMM ({error})") from None
    return GridTokenizer("mmm", tokenizer)


def _check_pieces(model: str | None) -> None:
    """Raises ValueError for learnt pieces that the tokenizers library cannot read."""
    if model is None:
        return
    try:
        Tokenizer.from_str(model)
    except BaseException as error:
        # The library raises bare Exceptions; whatever is more exact is none of them.
        if type(error) is not Exception:
            raise
        raise ValueError(f"its pieces cannot be read: {error}") from None


def _require_miditok() -> None:
    try:
        import miditok  # noqa: F401
    except ImportError:
        raise ValueError("REMI and MMM need MidiTok; mend with: pip install 'rwkv-music[miditok]'") from None


def _score(performance: Performance) -> "Score":
    from symusic import Note, Score, TimeSignature
    from symusic import Tempo as ScoreTempo
    from symusic import Track as ScoreTrack

    if performance.end > min(LONGEST, MAX_QUARTERS * performance.ticks):
        raise ValueError(f"the piece is too long for a grid: expected at most {MAX_QUARTERS} quarters")
    score: Any = Score(performance.ticks)
    for track in performance.tracks:
        starts, ends, pitches, velocities = (track.notes[:, column] for column in (START, END, PITCH, VELOCITY))
        notes = Note.from_numpy(
            time=starts.astype(np.int32),
            duration=(ends - starts).astype(np.int32),
            pitch=pitches.astype(np.int8),
            velocity=velocities.astype(np.int8),
        )
        score.tracks.append(ScoreTrack(name=track.name, program=track.program, is_drum=track.drums, notes=notes))
    for tick, microseconds in performance.tempos.tolist():
        score.tempos.append(ScoreTempo(tick, mspq=microseconds))
    for tick, beats, beat in performance.meters.tolist():
        score.time_signatures.append(TimeSignature(tick, beats, beat))
    return score
