"""Checkpoints as other programs wrap them: tensors inside a dictionary, names behind a prefix."""

from collections.abc import Mapping

from torch import Tensor

WRAPPERS = ("state_dict", "model", "module")
PREFIXES = ("_forward_module.", "model.", "module.")


def unwrap(content: object) -> Mapping[str, Tensor] | None:
    """The mapping of names to tensors in what a checkpoint file holds, prefixes removed; None when there is none."""
    while isinstance(content, dict) and "emb.weight" not in content:
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content:
        return None
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()):
        return None
    return {strip_prefixes(name): tensor for name, tensor in content.items()}


def strip_prefixes(name: str) -> str:
    """The official name: 'model.blocks.0.ln1.weight' is 'blocks.0.ln1.weight'."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name[len(prefix) :]
    return name
