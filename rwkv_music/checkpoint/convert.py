"""One checkpoint written anew in another form, by the suffix of what is to be written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from rwkv_music.checkpoint.gguf_write import write_gguf
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.save import Written, save_checkpoint
from rwkv_music.checkpoint.source import CheckpointError, is_finite
from rwkv_music.files import refuse_overwriting
from rwkv_music.model.spec import ModelError, Spec
from rwkv_music.model.versions import Tidy, read_spec, tidy

Form = Literal["official", "safetensors", "fla", "gguf"]
FORMS: dict[str, Form] = {".pth": "official", ".safetensors": "safetensors", ".gguf": "gguf", "": "fla"}
WRITTEN: dict[Form, Written] = {"official": "official", "safetensors": "safetensors", "fla": "fla"}
# What a form can be called; flash-linear-attention's is a folder, or its weights alone.
SUFFIXES: dict[Form, tuple[str, ...]] = {
    "official": (".pth",),
    "safetensors": (".safetensors",),
    "fla": ("", ".safetensors"),
    "gguf": (".gguf",),
}
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Cast(Mapping[str, Tensor]):
    """Weights in one type, each made when it is asked for."""

    def __init__(self, weights: Mapping[str, Tensor], dtype: torch.dtype):
        self._weights = weights
        self._dtype = dtype

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._weights[name].to(self._dtype)
        if not is_finite(tensor):
            raise CheckpointError(f"'{name}' holds values that are too large for {self._dtype}; bf16 and f32 hold them")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def convert_weights(
    source: Path, target: Path, kind: str | None = None, *, form: Form | None = None, force: bool = False
) -> None:
    """Write the model in `source` as `target`: .pth, .safetensors, .gguf, or a folder of flash-linear-attention's.

    Only tensors that the model uses are written. kind: f32, f16 or bf16, or what else `write_gguf` knows for a .gguf,
    where it is the type of the matrices; None keeps the types of the source, and means bf16 for a .gguf. form: what the
    suffix says if None. Raises CheckpointError, FileError for a target that exists (unless `force`), and OSError for
    files that cannot be read or written.
    """
    weights, spec = open_model(source)
    write_model(weights, spec, target, kind, form=form, force=force)


def open_model(source: Path) -> tuple[Tidy, Spec]:
    """The tensors of a file that its model uses, and what that model is. Raises CheckpointError or OSError."""
    tensors = load_weights(source)
    try:
        spec = read_spec(tensors.shapes)
        return tidy(tensors, spec), spec
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from None


def write_model(
    weights: Mapping[str, Tensor],
    spec: Spec,
    target: Path,
    kind: str | None,
    *,
    form: Form | None = None,
    force: bool = False,
) -> None:
    """Write weights of official names and shapes as `convert_weights` does, and raise what it raises."""
    form = _form(target, form)
    if kind is not None and form != "gguf" and kind not in TYPES:
        raise CheckpointError(f"{target}: only .gguf holds {kind}; other forms hold {', '.join(TYPES)}")
    if form == "gguf":
        refuse_overwriting([target], force=force)
        write_gguf(weights, spec, target, kind or "bf16")
    else:
        save_checkpoint(Cast(weights, TYPES[kind]) if kind else weights, target, WRITTEN[form], force=force)


def _form(target: Path, form: Form | None) -> Form:
    suffix = target.suffix.lower()
    if form is None and suffix not in FORMS:
        forms = ", ".join(filter(None, FORMS))
        raise CheckpointError(f"{target}: models are written as {forms}, or a folder (a name without a suffix)")
    form = form or FORMS[suffix]
    assert form in get_args(Form)
    if suffix not in SUFFIXES[form]:
        names = " or ".join(name or "no suffix (a folder)" for name in SUFFIXES[form])
        raise CheckpointError(f"{target}: the layout {form} needs a name that ends in {names}")
    return form
