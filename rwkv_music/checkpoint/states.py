"""States as others write them: where the music stands, or where tuning says that it begins.

Which way a state lies cannot be seen in it (its matrices are square), so the form decides, told by container and names:

    PyTorch archive, blocks.N.att.time_state   official and RWKV-PEFT, RWKV-5 to 7: [value, key]
    safetensors, blocks.N.att.time_state       web-rwkv: [key, value]
    PyTorch archive, a list of tensors         PyPI `rwkv`: see `from_official`
    PyTorch archive, one (L (2 + N), C) tensor ChatRWKV's demos of RWKV-5 and 6: [key, value]
    safetensors, time_shift channel_shift wkv  ours
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from rwkv_music.checkpoint.mapped import DAMAGED
from rwkv_music.checkpoint.names import strip_prefixes
from rwkv_music.checkpoint.pth import check_archive, read_pth
from rwkv_music.checkpoint.safetensors_file import read_safetensors
from rwkv_music.checkpoint.source import CheckpointError, first_line, is_finite
from rwkv_music.files import refuse_overwriting
from rwkv_music.model.official import from_official, to_official
from rwkv_music.model.spec import Spec
from rwkv_music.model.state import State, StateError

Form = Literal["ours", "time_state", "pip"]
# The largest is a 7B model's: 32 layers of 64 heads.
FILE_LIMIT = 512 << 20


def load_state(path: Path, spec: Spec) -> State:
    """The state of one piece for a model of that spec, from a file of any of the forms above.

    Raises CheckpointError for anything else, for a state of another model and for values that are no numbers; OSError.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) > FILE_LIMIT:
            raise CheckpointError(f"{path}: larger than any state ({FILE_LIMIT >> 20} MiB)")
    try:
        state = _from_safetensors(path, spec) if path.suffix in (".safetensors", ".st") else _from_archive(path, spec)
    except StateError as error:
        raise CheckpointError(f"{path}: {error}") from None
    for name, tensor in state.tensors().items():
        if not is_finite(tensor):
            raise CheckpointError(f"{path}: '{name}' holds values that are not finite numbers")
    return state


def save_state(state: State, spec: Spec, path: Path, form: Form = "ours", *, force: bool = False) -> None:
    """Write the state of one piece, whole or not at all.

    form: "ours", safetensors; "pip", the list of PyPI `rwkv`; "time_state", the official .pth of RWKV-5 to 7, which
    holds nothing of the token before. Raises CheckpointError where the form has no place for it, FileError for a file
    that exists (unless `force`), OSError.
    """
    refuse_overwriting([path], force=force)
    if form == "time_state" and (spec.version == "4" or state.time_shift.any() or state.channel_shift.any()):
        raise CheckpointError(f"{path}: this form holds a beginning of RWKV-5 to 7 only, with no token before it")
    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        if form == "ours":
            save_file(state.tensors(), aside, {"format": "pt", "version": spec.version})
        elif form == "pip":
            torch.save(to_official(state, spec), aside)
        else:
            torch.save({_name(layer): state.wkv[layer, 0].clone() for layer in range(spec.layers)}, aside)
        aside.replace(path)
    except StateError as error:
        raise CheckpointError(f"{path}: {error}") from None
    finally:
        aside.unlink(missing_ok=True)


def _name(layer: int) -> str:
    return f"blocks.{layer}.att.time_state"


def _from_safetensors(path: Path, spec: Spec) -> State:
    stored, _ = read_safetensors(path)
    tensors = {name: tensor.read() for name, tensor in stored.items()}
    if "wkv" in tensors:
        return State.from_tensors(tensors, spec).pick([0])
    return _beginning({name: tensor.mT for name, tensor in strip_prefixes(tensors).items()}, spec)


def _from_archive(path: Path, spec: Spec) -> State:
    with path.open("rb") as file:
        try:
            check_archive(file)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except DAMAGED as error:
            raise CheckpointError(f"{path}: not a whole PyTorch file ({first_line(error)})") from None
    if isinstance(content, list) and all(isinstance(tensor, Tensor) for tensor in content):
        return from_official([tensor.detach() for tensor in content], spec)
    if isinstance(content, Tensor):
        return _from_matrix(content.detach(), spec)
    return _beginning(strip_prefixes({name: tensor.read() for name, tensor in read_pth(path).items()}), spec)


def _beginning(tensors: Mapping[str, Tensor], spec: Spec) -> State:
    """Tuned states, [value, key], with no token before them."""
    shape = (spec.heads, spec.head_size, spec.head_size)
    names = [_name(layer) for layer in range(spec.layers)]
    more = sorted(set(tensors) - set(names))
    if any(name.endswith("ts_state") for name in more):
        raise StateError("it shifts the first token besides (ts_state), which no state can hold")
    if more or len(tensors) != len(names):
        found = f"'{more[0]}'" if more else f"{len(tensors)} layers"
        raise StateError(f"no state of this model, which has {spec.layers} times 'blocks.N.att.time_state': {found}")
    for name in names:
        if spec.version == "4" or tuple(tensors[name].shape) != shape:
            raise StateError(f"'{name}' has shape {list(tensors[name].shape)}, this model needs {list(shape)}")
    blank = State.zeros(spec)
    return State(blank.time_shift, blank.channel_shift, torch.stack([tensors[name].float() for name in names])[:, None])


def _from_matrix(rows: Tensor, spec: Spec) -> State:
    """Per layer ffn_x, att_x, and the heads (H, N_key, N_value) laid flat."""
    layers, size, width = spec.layers, spec.head_size, spec.width
    if not spec.version.startswith(("5", "6")) or tuple(rows.shape) != (layers * (2 + size), width):
        raise StateError(f"a matrix of {list(rows.shape)} is no state of this model (RWKV-{spec.version})")
    rows = rows.float().reshape(layers, 2 + size, width)
    wkv = rows[:, 2:].reshape(layers, spec.heads, size, size).mT.contiguous()
    return State(rows[:, 1, None].clone(), rows[:, 0, None].clone(), wkv[:, None])
