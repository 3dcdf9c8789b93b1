"""The models that the studio offers, each opened when somebody first composes with it, and with it a batcher."""

import threading
from collections.abc import Sequence
from pathlib import Path

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.library import embedded_models, find_model
from rwkv_music_app.batcher import ROWS, Batcher


class Models:
    """Engines and batchers by the name of their model. A model's path is told to nobody."""

    def __init__(self, others: Sequence[str] = (), device: str = "cpu", dtype: str = "float32", rows: int = ROWS):
        """others: names or paths of models besides the embedded ones. Raises ModelNotFoundError."""
        self._where = {name: name for name in embedded_models()}
        for other in others:
            config = find_model(other).config
            self._where[config.name if config else Path(other).stem] = other
        self._device, self._dtype, self._rows = device, dtype, rows
        self._open: dict[str, Batcher] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._where)

    def batcher(self, name: str) -> Batcher:
        """The batcher of a model. Raises UserError for a model that is not offered, and like `Engine.open`."""
        if name not in self._where:
            raise UserError("the studio does not offer this model")
        with self._lock:
            if name not in self._open:
                engine = Engine.open(self._where[name], self._device, self._dtype)
                self._open[name] = Batcher(engine, self._rows)
            return self._open[name]

    def engine(self, name: str) -> Engine:
        """The engine of a model. Raises like `batcher`."""
        return self.batcher(name).engine

    def close(self) -> None:
        """Stop all that grows."""
        for batcher in self._open.values():
            batcher.close()
