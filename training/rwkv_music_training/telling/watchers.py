"""Everybody who watches a run."""

from rwkv_music_training.learning.config import TrainingConfig
from rwkv_music_training.learning.watching import Watcher
from rwkv_music_training.telling.curve import Ledger
from rwkv_music_training.telling.listening import Listener
from rwkv_music_training.telling.live import Live
from rwkv_music_training.telling.page import PageWriter
from rwkv_music_training.telling.trackers import tracker


def watchers_of(config: TrainingConfig, *, quiet: bool = False) -> list[Watcher]:
    """The watchers that a config asks for: the files always, the loggers by name, the terminal unless quiet.

    Raises TrackerError for a logger that is not installed.
    """
    boards: list[Watcher] = [tracker(name) for name in config.habits.track]
    told: list[Watcher] = [] if quiet else [Live()]
    # The page is last, as it is made of what the others have written.
    return [Ledger(), *boards, Listener(), *told, PageWriter()]
