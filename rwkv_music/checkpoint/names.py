"""Checkpoints as other programs wrap them: tensors inside a dictionary, names behind a prefix."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")

WRAPPERS = ("state_dict", "model", "module")
PREFIXES = ("_forward_module.", "model.", "module.")
# Dictionaries in dictionaries; a hostile file can make one that holds itself.
DEPTH = 4
LENGTH = 200


def find_tensors(content: object) -> Mapping[str, Tensor] | None:
    """The mapping of names to tensors in what a checkpoint file holds; None when there is none."""
    for _ in range(DEPTH):
        if not isinstance(content, dict) or not content:
            return None
        if all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()):
            return content
        content = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
    return None


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a name that would not fit into one line, or hold a number that is no layer's."""
    for name in names:
        if len(name) > LENGTH or not name.isprintable():
            raise ValueError(f"a tensor has the name {name[:40]!r}, which no model has")


def strip_prefixes(tensors: Mapping[str, T]) -> dict[str, T]:
    """The same with the prefixes of training frameworks off the names: 'model.blocks.0.ln1.weight' loses 'model.'.

    Raises ValueError when two names become one.
    """
    stripped: dict[str, T] = {}
    for name, tensor in tensors.items():
        short = name
        while prefix := next((prefix for prefix in PREFIXES if short.startswith(prefix)), ""):
            short = short[len(prefix) :]
        if short in stripped:
            raise ValueError(f"two tensors are called '{short}'")
        stripped[short] = tensor
    return stripped
