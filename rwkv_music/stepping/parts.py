"""What the programs of all versions begin and end with, and the channel mix of versions 4, 5 and 6."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from rwkv_music.model.spec import Spec
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.pack import Packed
from rwkv_music_kernels.cpu.program import Program


def rest(spec: Spec, layer: int) -> int:
    """For which tokens a layer makes what is not for its memory: behind the last layer, only logits are."""
    return at.LAST if layer == spec.layers - 1 else at.TOKENS


def pair(weights: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a norm."""
    return weights[name + ".weight"], weights[name + ".bias"]


def begin(program: Program, spec: Spec, weights: Mapping[str, Tensor]) -> tuple[int, Packed]:
    """The residual stream, which holds the normed embedding, and the head.

    The head, the largest matrix, is packed while there is nothing else: most memory is in use beside the last one.
    """
    x = program.buffer(spec.width)
    program.embed(weights["emb.weight"], pair(weights, "blocks.0.ln0"), x)
    return x, program.matrix(weights["head.weight"])


def end(program: Program, spec: Spec, weights: Mapping[str, Tensor], x: int, head: Packed) -> None:
    """Logits of the tokens that are asked for."""
    out = program.buffer(spec.width)
    program.norm(x, out, pair(weights, "ln_out"), count=at.RESULTS)
    program.product(out, head, at.LOGITS, count=at.RESULTS)


class ChannelMix:
    """sigmoid(W_r x_r) (W_v relu(W_k x_k)^2), added to the residual stream."""

    def __init__(self, program: Program, spec: Spec):
        self.spec = spec
        self.normed = program.buffer(spec.width)
        self.mixed = program.buffer(spec.width, 2)
        self.hidden, self.gate = program.buffer(spec.ffn), program.buffer(spec.width)

    def add(
        self, program: Program, weights: Mapping[str, Tensor], block: str, x: int, mixes: Sequence[Tensor], layer: int
    ) -> None:
        """mixes: for key and receptance, the share of the token before."""
        count = rest(self.spec, layer)
        program.norm(x, self.normed, pair(weights, block + "ln2"), at.CHANNEL_SHIFT, layer, count)
        program.mix(self.normed, self.mixed, mixes, self.spec.width, at.CHANNEL_SHIFT, layer, count)
        ffn = block + "ffn."
        with program.together():
            key = program.matrix(weights[ffn + "key.weight"])
            program.product(self.mixed, key, self.hidden, activation=at.SQUARED_RELU, count=count)
            receptance = program.matrix(weights[ffn + "receptance.weight"])
            program.product(self.mixed + self.spec.width, receptance, self.gate, activation=at.SIGMOID, count=count)
        value = program.matrix(weights[ffn + "value.weight"])
        program.product(self.hidden, value, x, times=self.gate, adds=True, count=count)
