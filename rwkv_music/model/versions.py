"""Which RWKV version a set of tensors is, and the class that runs it: the only place that knows there are several."""

from collections.abc import Mapping

from torch import Tensor

from rwkv_music.model import v7
from rwkv_music.model.spec import ModelError, Shapes
from rwkv_music_kernels.contract import Kernels

# Tensors of models that share names with RWKV-7 and compute something else; ignoring them would give wrong music.
FOREIGN = {
    "ffn.s_emb.weight": "RWKV-7a (deep embedding)",
    "qkv.qq.weight": "RWKV-7b (hybrid attention)",
    "ffn.enn.weight": "RWKV-8",
    "att.time_maa_x": "RWKV-6",
    "att.time_decay": "RWKV-4, 5 or 6",
}


def read_spec(shapes: Shapes) -> v7.Rwkv7Spec:
    """The dimensions of the model that these tensors are. Raises ModelError when it is none that we can run."""
    if "emb.weight" not in shapes:
        raise ModelError("no RWKV weights here (expected a tensor named 'emb.weight')")
    for leaf, what in FOREIGN.items():
        if any(name.endswith(leaf) for name in shapes):
            raise ModelError(f"these are weights of {what}; this program runs RWKV-7")
    if "blocks.0.att.r_k" not in shapes:
        raise ModelError("these are no RWKV-7 weights (expected a tensor named 'blocks.0.att.r_k')")
    return v7.read_spec(shapes)


def tidy(tensors: Mapping[str, Tensor], spec: v7.Rwkv7Spec) -> dict[str, Tensor]:
    """The tensors that the model uses, each in its official shape.

    Raises ModelError on a name that is missing or unknown and on a tensor of another size.
    """
    expected = v7.tensor_shapes(spec)
    unknown = sorted(set(tensors) - set(expected) - v7.unused_names(spec))
    if unknown:
        raise ModelError(f"unknown tensor '{unknown[0]}' ({len(unknown)} in all): this is another kind of model")
    missing = sorted(set(expected) - set(tensors))
    if missing:
        raise ModelError(f"no tensor named '{missing[0]}' ({len(missing)} missing in all)")
    for name, shape in expected.items():
        found = tuple(tensors[name].shape)
        # Some writers drop the dimensions of size one, so only the others must agree.
        if [size for size in found if size > 1] != [size for size in shape if size > 1]:
            raise ModelError(f"'{name}' has shape {list(found)}, expected {list(shape)}")
    return {name: tensors[name].reshape(shape) for name, shape in expected.items()}


def build_model(spec: v7.Rwkv7Spec, weights: Mapping[str, Tensor], kernels: Kernels) -> v7.Rwkv7:
    """The model of that version over these weights."""
    return v7.Rwkv7(spec, weights, kernels)
