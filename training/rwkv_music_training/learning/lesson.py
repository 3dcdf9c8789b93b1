"""What a run learns: documents of one code, some to learn from and some to be read by."""

from dataclasses import dataclass
from pathlib import Path

from rwkv_music_training.corpus.augment import Augmentation
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.documents import Documents
from rwkv_music_training.learning.config import ConfigError, TrainingConfig
from rwkv_music_training.learning.cutting import Anywhere, AtBars, Cutting


@dataclass(frozen=True)
class Lesson:
    """A corpus as the loop sees it."""

    # Name of the code of the documents, as `rwkv-music models` tells it, and how many ids it has.
    tokenizer: str
    vocabulary: int
    train: Documents
    valid: Documents | None = None
    # Where they came from, in words for the model's config.json.
    origin: str = ""

    @property
    def cutting(self) -> Cutting:
        """How its documents are cut where they are longer than a window."""
        return AtBars() if self.tokenizer == "notes" else Anywhere()


def open_lesson(config: TrainingConfig) -> Lesson:
    """The corpus that the configuration names. Raises ConfigError without one, CorpusError for one that is damaged."""
    if config.data.corpus is None:
        raise ConfigError("data.corpus: say which corpus to learn, there or with --corpus DIR")
    corpus = Corpus.open(Path(config.data.corpus))
    train = corpus.split("train", Augmentation(**config.data.augment.model_dump()))
    if not len(train):
        raise ConfigError(f"{config.data.corpus}: there is nothing to learn in it, its split 'train' is empty")
    valid = corpus.split("valid")
    return Lesson(
        corpus.manifest.tokenizer, corpus.manifest.vocabulary, train, valid if len(valid) else None, corpus.folder.name
    )
