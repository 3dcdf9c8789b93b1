"""All that decides what a corpus is: the same recipe on the same files gives the same bytes."""

from dataclasses import asdict, dataclass
from typing import Any

from rwkv_music_training.corpus.codes import find_code
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.preparing import Preparation
from rwkv_music_training.corpus.reading import Taking
from rwkv_music_training.corpus.sharing import Sharing


@dataclass(frozen=True)
class Recipe:
    """How a corpus is made. Raises CorpusError for values out of range."""

    taking: Taking = Taking()
    preparation: Preparation = Preparation()
    sharing: Sharing = Sharing()
    # What one file may take, in seconds.
    seconds: float = 20.0

    def __post_init__(self) -> None:
        find_code(self.preparation.code)
        sharing = self.sharing
        if min(sharing.valid, sharing.test) < 0 or sharing.valid + sharing.test >= 1:
            raise CorpusError("the shares of valid and test must lie in 0..1, and leave something to learn from")
        if not 0 < sharing.near <= 1:
            raise CorpusError(f"near-duplicates begin at a Jaccard index in 0..1, not {sharing.near:g}")
        if self.seconds <= 0:
            raise CorpusError(f"a file must be given some time, not {self.seconds:g} s")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)
