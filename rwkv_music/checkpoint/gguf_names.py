"""What llama.cpp calls the tensors of RWKV-6 and RWKV-7, and how it turns them.

Source: llama.cpp, conversion/rwkv.py and src/models/rwkv{6,7}*.cpp.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """How one tensor differs: `back` makes the official form of llama.cpp's, `there` the other way."""

    back: Callable[[Tensor], Tensor]
    there: Callable[[Tensor], Tensor]


AS_IS = Turn(lambda x: x, lambda x: x)
TRANSPOSED = Turn(lambda x: x.mT, lambda x: x.mT)
# (1, 1, C) in official files.
FLAT = Turn(lambda x: x.reshape(1, 1, -1), lambda x: x.flatten())

# Outside the blocks, and in every block: official name, llama.cpp's.
_OUTSIDE = {
    "emb.weight": "token_embd.weight",
    "head.weight": "output.weight",
    **{f"ln_out.{leaf}": f"output_norm.{leaf}" for leaf in ("weight", "bias")},
    **{f"blocks.0.ln0.{leaf}": f"token_embd_norm.{leaf}" for leaf in ("weight", "bias")},
}
_NORMS = {
    f"{ours}.{leaf}": f"{theirs}.{leaf}"
    for ours, theirs in (("ln1", "attn_norm"), ("ln2", "attn_norm_2"), ("att.ln_x", "time_mix_ln"))
    for leaf in ("weight", "bias")
}
_MATRICES = {
    **{f"att.{name}.weight": f"time_mix_{name}.weight" for name in ("receptance", "key", "value", "output")},
    **{f"ffn.{name}.weight": f"channel_mix_{name}.weight" for name in ("key", "value")},
}


@dataclass(frozen=True)
class Naming:
    """The tensors of one version: official leaf to llama.cpp's leaf and how it is turned; and those fused in one."""

    outside: Mapping[str, str]
    leaves: Mapping[str, tuple[str, Turn]]
    # Official leaves that llama.cpp stacks as (n, 1, 1, C), in this order, and its names for them apart.
    fused: tuple[str, ...]
    apart: Mapping[str, str]


FUSED = "time_mix_lerp_fused.weight"

RWKV6 = Naming(
    MappingProxyType(_OUTSIDE),
    MappingProxyType(
        {
            **{ours: (theirs, AS_IS) for ours, theirs in {**_NORMS, **_MATRICES}.items()},
            "att.gate.weight": ("time_mix_gate.weight", AS_IS),
            "ffn.receptance.weight": ("channel_mix_receptance.weight", AS_IS),
            "att.time_maa_x": ("time_mix_lerp_x.weight", FLAT),
            "att.time_maa_w1": ("time_mix_w1.weight", TRANSPOSED),
            "att.time_maa_w2": ("time_mix_w2.weight", TRANSPOSED),
            "att.time_decay": ("time_mix_decay.weight", FLAT),
            "att.time_decay_w1": ("time_mix_decay_w1.weight", TRANSPOSED),
            "att.time_decay_w2": ("time_mix_decay_w2.weight", TRANSPOSED),
            "att.time_faaaa": ("time_mix_first.weight", AS_IS),
            "ffn.time_maa_k": ("channel_mix_lerp_k.weight", FLAT),
            "ffn.time_maa_r": ("channel_mix_lerp_r.weight", FLAT),
        }
    ),
    tuple(f"att.time_maa_{letter}" for letter in "wkvrg"),
    MappingProxyType({f"att.time_maa_{letter}": f"time_mix_lerp_{letter}.weight" for letter in "wkvrg"}),
)
RWKV7 = Naming(
    MappingProxyType(_OUTSIDE),
    MappingProxyType(
        {
            **{ours: (theirs, AS_IS) for ours, theirs in {**_NORMS, **_MATRICES}.items()},
            **{f"att.{letter}0": (f"time_mix_{letter}0.weight", FLAT) for letter in "wav"},
            **{f"att.{letter}{n}": (f"time_mix_{letter}{n}.weight", TRANSPOSED) for letter in "wavg" for n in "12"},
            "att.k_k": ("time_mix_k_k.weight", FLAT),
            "att.k_a": ("time_mix_k_a.weight", FLAT),
            "ffn.x_k": ("channel_mix_lerp_k.weight", FLAT),
        }
    ),
    tuple(f"att.x_{letter}" for letter in "rwkvag"),
    MappingProxyType({f"att.x_{letter}": f"time_mix_lerp_{letter}.weight" for letter in "rwkvag"}),
)
# (H, N) in official files, (C) in llama.cpp's: the size of a head says how to turn it.
R_K = ("att.r_k", "time_mix_r_k.weight")
# Divided by 2 ** (layer // n) where a file says that it was rescaled every n layers.
RESCALED = ("att.output.weight", "ffn.value.weight")
NAMINGS: Mapping[str, Naming] = MappingProxyType({"rwkv6": RWKV6, "rwkv7": RWKV7})
