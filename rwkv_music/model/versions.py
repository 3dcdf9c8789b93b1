"""Which RWKV version a set of tensors is, and the class that runs it: the only place that knows there are several."""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rwkv_music.model import v4, v5, v6, v7
from rwkv_music.model.blocks import Blocks
from rwkv_music.model.spec import ModelError, Shapes, Spec
from rwkv_music_kernels.contract import Kernels

# Tensors of models that share names with ours and compute something else; ignoring them would give wrong music.
FOREIGN: Mapping[str, str] = MappingProxyType(
    {
        "ffn.s_emb.weight": "RWKV-7a (deep embedding)",
        "qkv.qq.weight": "RWKV-7b (hybrid attention)",
        "ffn.enn.weight": "RWKV-8",
        "att.gate_w1": "a research form of RWKV-6",
        "att.time_maa_rkvw_w1": "a research form of RWKV-6",
        "att.time_mix_aa": "an experiment with RWKV-4 (MishGLU)",
        "ffn.aa.weight": "an experiment with RWKV-4 (MishGLU)",
        "ffnPre.key.weight": "an experiment with RWKV-4 (ffnPre)",
        "head_q.weight": "an experiment with RWKV-4 (head_q)",
        "tiny_q.weight": "an experiment with RWKV-4 (tiny attention)",
        "pos_emb_x": "an experiment with RWKV-4 (positions)",
        "mixer.A_log": "Mamba",
        "self_attn.q_proj.weight": "a transformer",
    }
)
# The start state that state tuning leaves, sometimes put beside the weights: (H, N, N) as [value, key].
START = re.compile(r"blocks\.(\d+)\.att\.time_state")


# A model of any version.
Model: TypeAlias = Blocks[Any]


def read_spec(shapes: Shapes) -> Spec:
    """The dimensions of the model that these tensors are. Raises ModelError when it is none that we can run."""
    for leaf, what in FOREIGN.items():
        if any(name.endswith(leaf) for name in shapes):
            raise ModelError(f"these are weights of {what}; this program runs RWKV 4, 5, 6 and 7")
    if "emb.weight" not in shapes:
        raise ModelError("no RWKV weights here (expected a tensor named 'emb.weight')")
    first = {name.removeprefix("blocks.0.att.") for name in shapes if name.startswith("blocks.0.att.")}
    if "r_k" in first:
        return v7.read_spec(shapes)
    if "time_maa_x" in first:
        return v6.read_spec(shapes)
    if {"ln_x.weight", "time_decay"} <= first:
        return v5.read_spec(shapes)
    if {"time_first", "time_decay"} <= first:
        return v4.read_spec(shapes)
    raise ModelError("these are no weights of RWKV 4, 5, 6 or 7 (no 'blocks.0.att.' tensors of theirs)")


def tensor_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a model of this spec uses, as official checkpoints have them."""
    match spec:
        case v7.Rwkv7Spec():
            return v7.tensor_shapes(spec)
        case v6.Rwkv6Spec():
            return v6.tensor_shapes(spec)
        case v5.Rwkv5Spec():
            return v5.tensor_shapes(spec)
        case v4.Rwkv4Spec():
            return v4.tensor_shapes(spec)
    raise ModelError(f"no RWKV version {spec.version} is known")


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes, without making a tensor where the mapping knows them already."""
    known = getattr(tensors, "shapes", None)
    return dict(known) if known is not None else {name: tuple(tensor.shape) for name, tensor in tensors.items()}


class Tidy(Mapping[str, Tensor]):
    """The tensors that a model uses, each in its official shape, made anew whenever it is asked for."""

    def __init__(self, tensors: Mapping[str, Tensor], shapes: Shapes):
        self._tensors = tensors
        self.shapes = dict(shapes)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name].reshape(self.shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def tidy(tensors: Mapping[str, Tensor], spec: Spec) -> Tidy:
    """The tensors that the model uses, each in its official shape.

    Raises ModelError on a name that is missing or unknown and on a tensor of another size.
    """
    found, expected = shapes_of(tensors), tensor_shapes(spec)
    unused = v7.unused_names(spec) if isinstance(spec, v7.Rwkv7Spec) else set()
    unknown = sorted(name for name in set(found) - set(expected) - unused if not START.fullmatch(name))
    if unknown:
        raise ModelError(f"unknown tensor '{unknown[0]}' ({len(unknown)} in all): this is another kind of model")
    missing = sorted(set(expected) - set(found))
    if missing:
        raise ModelError(f"no tensor named '{missing[0]}' ({len(missing)} missing in all)")
    for name, shape in expected.items():
        # Some writers drop the dimensions of size one, so only the others must agree.
        if [size for size in found[name] if size > 1] != [size for size in shape if size > 1]:
            raise ModelError(f"'{name}' has shape {list(found[name])}, expected {list(shape)}")
    if spec.heads * spec.head_size != spec.width:
        raise ModelError(f"{spec.heads} heads of {spec.head_size} channels do not make the width {spec.width}")
    return Tidy(tensors, expected)


def start_memory(tensors: Mapping[str, Tensor], spec: Spec) -> Tensor | None:
    """The tuned memory (L, 1, H, N, N) that lies beside the weights, float32; None where there is none.

    Raises ModelError when some layers have one and others not, or when it is of another size.
    """
    names = [f"blocks.{layer}.att.time_state" for layer in range(spec.layers)]
    if not any(name in tensors for name in names):
        return None
    shape = (spec.heads, spec.head_size, spec.head_size)
    found = shapes_of(tensors)
    for name in names:
        if found.get(name) != shape or spec.version == "4":
            raise ModelError(f"'{name}' has shape {list(found.get(name, ()))}, expected {list(shape)}")
    return torch.stack([tensors[name].float() for name in names])[:, None]


def build_model(spec: Spec, weights: Mapping[str, Tensor], kernels: Kernels) -> Model:
    """The model of that version over these weights."""
    match spec:
        case v7.Rwkv7Spec():
            return v7.Rwkv7(spec, weights, kernels)
        case v6.Rwkv6Spec():
            return v6.Rwkv6(spec, weights, kernels)
        case v5.Rwkv5Spec():
            form = {"5.0": v5.Rwkv50, "5.1": v5.Rwkv51, "5.2": v5.Rwkv52}[spec.version]
            return form(spec, weights, kernels)
        case v4.Rwkv4Spec():
            return v4.Rwkv4(spec, weights, kernels)
    raise ModelError(f"no RWKV version {spec.version} is known")
