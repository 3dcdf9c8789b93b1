"""Low-rank adapters merged into the weights they were trained beside, tensor by tensor.

    LoRA     W + alpha / r B A                RWKV-PEFT (module.lora_A, module.lora_B), peft folders, web-rwkv (.lora.0, .1)
    PiSSA    W - B0 A0 + B A                  with module.init_lora_A and init_lora_B, beside it or in a file of its own
    DiSHA    W + D^T repeated along the rows  RWKV-PEFT (module.disha, (r, out)): every r columns get the same

Sources: RWKV-PEFT, merge/merge.py and merge_disha.py; peft, LoraConfig.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rwkv_music.checkpoint.load import file_hash
from rwkv_music.checkpoint.pth import read_pth
from rwkv_music.checkpoint.safetensors_file import read_safetensors
from rwkv_music.checkpoint.source import CheckpointError, is_finite
from rwkv_music.model.versions import shapes_of

ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
CONFIG_LIMIT = 1 << 20
PARTS = ("lora_A", "lora_B", "init_lora_A", "init_lora_B", "disha")


@dataclass(frozen=True)
class Adapter:
    """What an adapter file adds: low-rank parts by module, whole tensors by name, and LoRA's factor if it is told."""

    path: Path
    parts: Mapping[str, Mapping[str, Tensor]]
    whole: Mapping[str, Tensor]
    # alpha / r; None where the file does not say.
    scale: float | None


class Merged(Mapping[str, Tensor]):
    """Weights with an adapter in them, each merged when it is asked for, in the type that it had."""

    def __init__(self, weights: Mapping[str, Tensor], changes: Mapping[str, Callable[[Tensor], Tensor]]):
        self._weights = weights
        self._changes = changes
        self.shapes = shapes_of(weights)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._weights[name]
        change = self._changes.get(name)
        return tensor if change is None else change(tensor.float()).to(tensor.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def merge_lora(
    weights: Mapping[str, Tensor], path: Path, *, alpha: float | None = None, init: Path | None = None
) -> Merged:
    """The weights with the adapter in `path` in them; sums are float32.

    weights: by official names. path: a file, or peft's folder. alpha: LoRA's, needed where the file does not hold it,
    as RWKV-PEFT's do not. init: PiSSA's init file, where the parts it began from are not in `path`. Raises
    CheckpointError for modules the model has not, shapes that do not fit, and an alpha that is missing; OSError.
    """
    adapter = _read(path)
    if init is not None:
        adapter = _with_init(adapter, _read(init))
    shapes = shapes_of(weights)
    changes: dict[str, Callable[[Tensor], Tensor]] = {}
    for module, parts in adapter.parts.items():
        name = module + ".weight"
        if len(shapes.get(name, ())) != 2:
            raise CheckpointError(f"{path}: it changes '{module}', which this model has not")
        changes[name] = _change(adapter, module, parts, shapes[name], alpha)
    for name, tensor in adapter.whole.items():
        if math.prod(shapes.get(name, (0,))) != tensor.numel():
            raise CheckpointError(f"{path}: '{name}' has shape {list(tensor.shape)}, which this model has no place for")
        changes[name] = lambda old, new=tensor: new.float().reshape(old.shape)
    if not changes:
        raise CheckpointError(f"{path}: no adapter in this file (expected tensors named '….lora_A', '….disha', …)")
    return Merged(weights, changes)


def _change(
    adapter: Adapter, module: str, parts: Mapping[str, Tensor], shape: tuple[int, ...], alpha: float | None
) -> Callable[[Tensor], Tensor]:
    out, width = shape
    if "disha" in parts:
        (rank, columns) = parts["disha"].shape if parts["disha"].dim() == 2 else (0, 0)
        if columns != out or rank < 1:
            raise CheckpointError(f"{adapter.path}: '{module}.disha' has shape {list(parts['disha'].shape)}")
        times = -(-width // rank)
        return lambda old: old + parts["disha"].float().T.repeat(1, times)[:, :width]
    if not {"lora_A", "lora_B"} <= set(parts):
        raise CheckpointError(f"{adapter.path}: '{module}' lacks its lora_A or lora_B")
    _check_pair(adapter.path, module, parts["lora_A"], parts["lora_B"], shape)
    added = _product(parts["lora_B"], parts["lora_A"])
    if {"init_lora_A", "init_lora_B"} <= set(parts):
        _check_pair(adapter.path, module, parts["init_lora_A"], parts["init_lora_B"], shape)
        begun = _product(parts["init_lora_B"], parts["init_lora_A"])
        return lambda old: old - begun() + added()
    rank = parts["lora_A"].shape[0]
    scale = alpha / rank if alpha is not None else adapter.scale
    if scale is None:
        raise CheckpointError(f"{adapter.path}: the file does not hold alpha; say which one the training used")
    return lambda old: old + scale * added()


def _product(up: Tensor, down: Tensor) -> Callable[[], Tensor]:
    return lambda: up.float() @ down.float()


def _check_pair(path: Path, module: str, down: Tensor, up: Tensor, shape: tuple[int, ...]) -> None:
    if down.dim() != 2 or up.dim() != 2 or (up.shape[0], down.shape[1]) != shape or up.shape[1] != down.shape[0]:
        raise CheckpointError(
            f"{path}: '{module}' is {list(shape)}, its adapter {list(up.shape)} times {list(down.shape)} does not fit"
        )


def _with_init(adapter: Adapter, init: Adapter) -> Adapter:
    parts = {module: {**init.parts.get(module, {}), **own} for module, own in adapter.parts.items()}
    return Adapter(adapter.path, parts, adapter.whole, adapter.scale)


def _read(path: Path) -> Adapter:
    scale = None
    if path.is_dir():
        folder, path = path, next((path / name for name in ADAPTERS if (path / name).is_file()), path / ADAPTERS[0])
        scale = _peft_scale(folder / "adapter_config.json")
    reader = read_pth if path.suffix in (".pth", ".pt", ".bin") else lambda file: read_safetensors(file)[0]
    parts: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for full, stored in reader(path).items():
        tensor = stored.read()
        if not is_finite(tensor):
            raise CheckpointError(f"{path}: '{full}' holds values that are not finite numbers")
        module, part, turned = _place(full)
        if part:
            parts.setdefault(module, {})[part] = tensor.mT if turned else tensor
        else:
            whole[module] = tensor
    return Adapter(path, parts, whole, scale)


def _place(name: str) -> tuple[str, str, bool]:
    """Module, part ("" for a whole tensor) and whether the part lies the other way."""
    for prefix in ("base_model.model.", "_forward_module.", "model.", "module."):
        name = name.removeprefix(prefix)
    # web-rwkv writes A transposed and calls the two 0 and 1.
    for ending, part, turned in ((".lora.0", "lora_A", True), (".lora.1", "lora_B", False)):
        if name.endswith(ending):
            return name.removesuffix(ending).removesuffix(".weight"), part, turned
    short = name.removesuffix(".weight").removesuffix(".default")
    module, _, part = short.rpartition(".")
    return (module, part, False) if part in PARTS else (name, "", False)


def _peft_scale(path: Path) -> float:
    """alpha / r, or alpha / sqrt(r), as a peft folder says."""
    try:
        with path.open("rb") as file:
            config = json.loads(file.read(CONFIG_LIMIT))
        rank, alpha = config["r"], config["lora_alpha"]
        root = config.get("use_rslora", False) is True
        if not (isinstance(rank, int) and 0 < rank < 1 << 16 and isinstance(alpha, int | float)):
            raise ValueError("r and lora_alpha must be numbers above 0")
        if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("use_dora"):
            raise ValueError("ranks of several sizes and DoRA cannot be merged")
        return float(alpha) / (math.sqrt(rank) if root else rank)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not peft's adapter_config.json ({str(error)[:100]})") from None


def merged_hash(weights: Path, adapter: Path, alpha: float | None) -> str:
    """A sha256 that knows the weights, the adapter and its alpha, in hexadecimal."""
    file = adapter if adapter.is_file() else next(adapter / name for name in ADAPTERS if (adapter / name).is_file())
    return hashlib.sha256(f"{file_hash(weights)} {file_hash(file)} {alpha}".encode()).hexdigest()
