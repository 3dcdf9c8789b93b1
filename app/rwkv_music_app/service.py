"""The API as it is told to whatever process makes it: of which models, where, and for whom."""

from dataclasses import dataclass
from pathlib import Path

import torch

from rwkv_music.usual import usual_threads
from rwkv_music_app.batcher import ROWS
from rwkv_music_app.models import Models
from rwkv_music_app.server import ON_THIS_MACHINE, Openness
from rwkv_music_app.store import SessionStore
from rwkv_music_app.studio import Studio


@dataclass(frozen=True)
class Service:
    """A studio that is yet to be opened."""

    # Of pieces.
    folder: Path
    # Besides the embedded ones, by name or path.
    models: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    # Takes that grow at the same time.
    rows: int = ROWS
    # None: as the first model suggests.
    threads: int | None = None
    # To whom it answers.
    openness: Openness = ON_THIS_MACHINE

    def open(self, store: type[SessionStore] = SessionStore) -> Studio:
        """The studio, which has made a bar already. Raises like `Models`, `Engine.open` and `Studio`."""
        models = Models(self.models, self.device, self.dtype, self.rows)
        engine = models.engine(models.names[0])
        torch.set_num_threads(self.threads or usual_threads(engine.spec))
        studio = Studio(self.folder, models, store)
        studio.warm_up()
        return studio
