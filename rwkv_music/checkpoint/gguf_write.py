"""RWKV-6 and RWKV-7 as GGUF files, in the form that llama.cpp's own converter gives them."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rwkv_music.checkpoint.gguf_names import FUSED, NAMINGS, R_K, Naming
from rwkv_music.checkpoint.source import CheckpointError
from rwkv_music.model.spec import Spec
from rwkv_music.model.v6 import Rwkv6Spec
from rwkv_music.model.v7 import Rwkv7Spec

if TYPE_CHECKING:
    from gguf import GGUFWriter

# How the large matrices can be stored, and the number llama.cpp has for a file of each.
KINDS: Mapping[str, int] = MappingProxyType(
    {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9}
)
# What llama.cpp takes for a length without an end.
CONTEXT = 1048576


def write_gguf(weights: Mapping[str, Tensor], spec: Spec, path: Path, kind: str = "bf16") -> None:
    """Write tensors of official names as `path`, aside first and then renamed.

    kind: of the large matrices, one of KINDS; everything else is float32, as llama.cpp wants it. A row that is no whole
    number of blocks is stored as f16. From bfloat16 weights, "bf16" and "f32" lose nothing. Raises CheckpointError for
    another kind or version.
    """
    if kind not in KINDS:
        raise CheckpointError(f"{path}: matrices of '{kind}' cannot be written; choose {', '.join(KINDS)}")
    arch = {Rwkv6Spec: "rwkv6", Rwkv7Spec: "rwkv7"}.get(type(spec))
    if arch is None:
        raise CheckpointError(f"{path}: llama.cpp runs RWKV-6 and RWKV-7 only, not RWKV-{spec.version}")
    from gguf import GGUFWriter

    aside = path.with_name(f".{secrets.token_hex(8)}.part")
    writer = GGUFWriter(aside, arch)
    try:
        _describe(writer, spec, path.stem, kind)
        _add_tensors(writer, weights, spec, NAMINGS[arch], kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _describe(writer: "GGUFWriter", spec: Spec, name: str, kind: str) -> None:
    writer.add_name(name)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(spec.width)
    writer.add_block_count(spec.layers)
    writer.add_feed_forward_length(spec.ffn)
    writer.add_wkv_head_size(spec.head_size)
    writer.add_layer_norm_eps(1e-5)
    # llama.cpp wants a number here and uses none.
    writer.add_head_count(0)
    writer.add_file_type(KINDS[kind])
    if isinstance(spec, Rwkv6Spec):
        writer.add_rescale_every_n_layers(0)
        writer.add_time_mix_extra_dim(spec.mix_rank)
        writer.add_time_decay_extra_dim(spec.decay_rank)
    if isinstance(spec, Rwkv7Spec):
        writer.add_decay_lora_rank(spec.decay_rank)
        writer.add_iclr_lora_rank(spec.rate_rank)
        writer.add_value_residual_mix_lora_rank(spec.value_rank or spec.rate_rank)
        writer.add_gate_lora_rank(spec.gate_rank)
    writer.add_tokenizer_model("rwkv")
    writer.add_token_list(_tokens(spec.vocabulary))
    writer.add_token_types([3] + [1] * (spec.vocabulary - 1))


def _tokens(count: int) -> list[str]:
    """Names for the ids, as llama.cpp writes bytes: id 0 ends a text, small ids are characters, the rest numbers."""
    return ["<s>", *(f"\\x{token:02x}" if token < 128 else f"<{token}>" for token in range(1, count))]


def _add_tensors(writer: "GGUFWriter", weights: Mapping[str, Tensor], spec: Spec, naming: Naming, kind: str) -> None:
    for ours, theirs in naming.outside.items():
        _add(writer, theirs, weights[ours], kind)
    for layer in range(spec.layers):
        official, block = f"blocks.{layer}.", f"blk.{layer}."
        for ours, (theirs, turn) in naming.leaves.items():
            # The first layer mixes no values; llama.cpp wants tensors there all the same.
            source = ours.replace("att.v", "att.a") if layer == 0 and ours in _VALUE_MIX else ours
            _add(writer, block + theirs, turn.there(weights[official + source]), kind)
        stacked = torch.stack([weights[official + ours].reshape(1, 1, -1).float() for ours in naming.fused])
        _add(writer, block + FUSED, stacked, "f32")
        if isinstance(spec, Rwkv7Spec):
            _add(writer, block + R_K[1], weights[official + R_K[0]].flatten(), kind)


_VALUE_MIX = ("att.v0", "att.v1", "att.v2")
_MATRICES = (
    *("token_embd", "output", "time_mix_receptance", "time_mix_key", "time_mix_value", "time_mix_output"),
    *("time_mix_gate", "channel_mix_key", "channel_mix_value", "channel_mix_receptance"),
)


def _add(writer: "GGUFWriter", name: str, tensor: Tensor, kind: str) -> None:
    """One tensor; only the large matrices are stored as `kind`."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import quantize

    values = tensor.detach().float().contiguous().numpy()
    large = name.removesuffix(".weight").rsplit(".", 1)[-1] in _MATRICES
    wanted = GGMLQuantizationType[kind.upper()] if large else GGMLQuantizationType.F32
    if values.shape[-1] % GGML_QUANT_SIZES[wanted][0]:
        wanted = GGMLQuantizationType.F16
    if wanted == GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif wanted == GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, quantize(values, wanted), raw_dtype=wanted)
