"""The models that the studio offers, each opened when somebody first composes with it, and with it a batcher.

A name may say styles besides, as in `rwkv_music.library`: they change what a piece begins with, and share the weights.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from rwkv_music.engine import Engine
from rwkv_music.errors import UserError
from rwkv_music.library import Chosen, chosen, embedded_models, find_model, read_style_name, styles_of
from rwkv_music_app.batcher import ROWS, Batcher


class Models:
    """Engines and batchers by the name of their model. A model's path is told to nobody."""

    def __init__(self, others: Sequence[str] = (), device: str = "cpu", dtype: str = "float32", rows: int = ROWS):
        """others: names or paths of models besides the embedded ones. Raises UserError, also for one in a style."""
        self._where = {name: name for name in embedded_models()}
        for other in others:
            if chosen(other).styles:
                raise UserError(f"{other}: name the model alone; its styles are chosen on the page")
            config = find_model(other).config
            self._where[config.name if config else Path(other).stem] = other
        self._device, self._dtype, self._rows = device, dtype, rows
        self._open: dict[str, Batcher] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """What they are called."""
        return list(self._where)

    def styles(self) -> dict[str, list[str]]:
        """What the styles of each model are called at this moment. Raises UserError for one that cannot be read."""
        found = {name: styles_of(find_model(where)) for name, where in self._where.items()}
        return {name: [style for style in own if not set(style) & {"+", ":"}] for name, own in found.items()}

    def in_style(self, model: str, style: str) -> str:
        """The name of a model in some styles. Raises UserError for a style that is not offered for it.

        model: "" for the one that the first style was made for; style: "NAME", or a mix "NAME:0.7+NAME:0.3".
        """
        named = [read_style_name(part.strip()) for part in style.split("+")]
        offered = self.styles()
        owner = model or next((owner for owner, own in offered.items() if named[0][0] in own), "")
        for name, _ in named:
            if name not in offered.get(owner, ()):
                raise UserError(
                    f"there is no style {name!r} for {owner or 'any model here'}: choose another, or its model"
                )
        return str(Chosen(owner, tuple(named)))

    def batcher(self, name: str) -> Batcher:
        """The batcher of a model, in any styles. Raises UserError for what is not offered, and like `Engine.open`."""
        name, _ = self._parts(name)
        with self._lock:
            if name not in self._open:
                engine = Engine.open(self._where[name], self._device, self._dtype)
                self._open[name] = Batcher(engine, self._rows)
            return self._open[name]

    def engine(self, name: str) -> Engine:
        """The engine of a model in the styles that its name says. Raises like `batcher` and `Engine.styled`."""
        engine, styles = self.batcher(name).engine, self._parts(name)[1]
        return engine.styled([read_style_name(style) for style in styles]) if styles else engine

    def _parts(self, name: str) -> tuple[str, list[str]]:
        """A model that is offered, and its styles. Raises UserError."""
        for known in self._where:
            if name == known or name.startswith(known + "+"):
                return known, name[len(known) + 1 :].split("+") if name != known else []
        raise UserError("the studio does not offer this model")

    def batchers(self) -> list[Batcher]:
        """Those of the models that are open."""
        return list(self._open.values())

    def close(self) -> None:
        """Stop all that grows."""
        for batcher in self._open.values():
            batcher.close()
