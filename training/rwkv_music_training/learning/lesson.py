"""What a run learns: documents of one code, some to learn from and some to be read by."""

from dataclasses import dataclass

from rwkv_music_training.corpus.documents import Documents
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
