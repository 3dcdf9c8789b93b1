"""One checkpoint written anew in another form, by the suffix of what is to be written."""

from pathlib import Path

from rwkv_music.checkpoint.gguf_write import write_gguf
from rwkv_music.checkpoint.load import load_weights
from rwkv_music.checkpoint.save import Written, save_checkpoint
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.files import refuse_overwriting
from rwkv_music.model.spec import ModelError
from rwkv_music.model.versions import read_spec, tidy

LAYOUTS: dict[str, Written] = {".pth": "official", ".safetensors": "safetensors", "": "fla"}


def convert_weights(source: Path, target: Path, kind: str | None = None, *, force: bool = False) -> None:
    """Write the model in `source` as `target`: .pth, .safetensors, .gguf, or a folder of flash-linear-attention's.

    Only tensors that the model uses are written. kind: the type of the matrices in a .gguf, bf16 if None; the other
    forms keep the types of the source. Raises CheckpointError, FileError for a target that exists (unless `force`), and
    OSError for files that cannot be read or written.
    """
    suffix = target.suffix.lower()
    if suffix != ".gguf" and suffix not in LAYOUTS:
        forms = ", ".join(filter(None, LAYOUTS))
        raise CheckpointError(f"{target}: models are written as {forms}, .gguf, or a folder (a name without a suffix)")
    if kind is not None and suffix != ".gguf":
        raise CheckpointError(f"{target}: only .gguf takes a type of its own; the others keep that of the source")
    tensors = load_weights(source)
    try:
        spec = read_spec(tensors.shapes)
        weights = tidy(tensors, spec)
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}") from None
    if suffix == ".gguf":
        refuse_overwriting([target], force=force)
        write_gguf(weights, spec, target, kind or "bf16")
    else:
        save_checkpoint(weights, target, LAYOUTS[suffix], force=force)
