"""What a run learns: ABC tunes or MIDI documents, with their batches, their validation and their samples."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rwkv_music.model.versions import Model
from rwkv_music_tokenizers.note_tokens import NoteTokenizer
from rwkv_music_tokenizers.note_vocabulary import BOS, EOS
from rwkv_music_tokenizers.performance_writer import write_performance
from rwkv_music_tokenizers.transpose import singable_shifts, transpose_abc
from rwkv_music_training.batches import Batches, TuneBatches
from rwkv_music_training.config import ConfigError, TrainingConfig
from rwkv_music_training.corpus.tunes import Tune, read_tunes
from rwkv_music_training.judging.note_bits import evaluate_windows, some_windows
from rwkv_music_training.judging.predictors import ModelPredictor
from rwkv_music_training.judging.readings import Reading
from rwkv_music_training.judging.tune_bits import evaluate
from rwkv_music_training.note_batches import NoteBatches, Windows
from rwkv_music_training.note_corpus import NoteCorpus, corpus_line, note_corpus
from rwkv_music_training.samples import sample_ids, sample_tunes, tunebook

# New tokens of a sample that is only looked at.
SAMPLE_LENGTH = 400


class Lesson(Protocol):
    """What the trainer needs to know of the music."""

    # What a loss is counted in, as "bits/char" says it.
    unit: str
    batches: Batches

    def read(self, model: Model) -> Mapping[str, Reading]:
        """The cost of the validation documents by source, and of "all"; always the same documents."""
        ...

    def write_samples(self, model: Model, path: Path, title: str) -> None:
        """Write some music of the model to files that begin with `path`, to be looked at."""
        ...


class AbcLesson:
    """Tunes in ABC, character by character."""

    unit = "char"

    def __init__(self, batches: Batches, valid: Sequence[Tune], prompts: Sequence[str] = ()):
        self.batches = batches
        self._valid = valid
        self._prompts = prompts

    def read(self, model: Model) -> Mapping[str, Reading]:
        """Bits a character of whole tunes."""
        return evaluate(ModelPredictor(model), self._valid)

    def write_samples(self, model: Model, path: Path, title: str) -> None:
        """Two tunes for each prompt in one file."""
        tunes = [tune for prompt in self._prompts for tune in sample_tunes(model, 2, prompt, max_length=400)]
        titles = [f"{title}, {number}" for number in range(1, len(tunes) + 1)]
        path.with_name(f"{path.name}.abc").write_text(tunebook(tunes, titles), encoding="utf-8")


class NotesLesson:
    """MIDI files, token by token."""

    unit = "token"

    def __init__(self, batches: Batches, valid: NoteCorpus, config: TrainingConfig):
        self.batches = batches
        self._valid = Windows(valid, config.max_length)
        self._chosen = some_windows(self._valid, config.valid_tokens)
        self._tokenizer = NoteTokenizer()
        self._prompts = [note_prompt(text) for text in config.sample_prompts]

    def read(self, model: Model) -> Mapping[str, Reading]:
        """Bits a token of some windows of every source."""
        return evaluate_windows(ModelPredictor(model), self._valid, self._chosen)

    def write_samples(self, model: Model, path: Path, title: str) -> None:
        """A MIDI file for each prompt, in which the tokens stand as a remark."""
        for number, prompt in enumerate(self._prompts, start=1):
            ids = [*prompt, *sample_ids(model, 1, prompt, EOS, max_length=SAMPLE_LENGTH)[0]]
            remarks = (title, self._tokenizer.text(ids))
            midi = write_performance(self._tokenizer.decode(ids), remarks)
            path.with_name(f"{path.name}-{number}.mid").write_bytes(midi)


def note_prompt(text: str) -> list[int]:
    """The ids of an opening in words, <bos> before it. Raises ConfigError."""
    try:
        return [BOS, *NoteTokenizer().from_text(text).tolist()]
    except ValueError as error:
        raise ConfigError(f"sample_prompts: {error}") from error


def open_lesson(config: TrainingConfig, data: Path, cache: Path, say: Callable[[str], None]) -> Lesson:
    """The lesson of a config on a data folder; `cache` keeps what is made of MIDI files. Raises CorpusError."""
    if config.tokenizer == "abc":
        tunes = read_tunes(data / config.train_file, config.tiers)
        valid = read_tunes(data / config.valid_file, config.tiers)
        say(f"{len(tunes):,} tunes")
        return AbcLesson(TuneBatches(tunes, config, transpose_abc, singable_shifts), valid, config.sample_prompts)
    train, valid = (note_corpus(data, split, cache, config, say) for split in (config.train_file, config.valid_file))
    for split, corpus in ((config.train_file, train), (config.valid_file, valid)):
        say(f"{split}: {corpus_line(corpus)}")
    return NotesLesson(NoteBatches(train, config), valid, config)
