"""Matrices in the order in which `matvec` reads them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.cpu.matvec import BFLOAT16, BLOCK_MOST, FLOAT32, INPUTS, INT8, PANEL, TOGETHER

_DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}
_MOST = 127


@dataclass(frozen=True, eq=False)
class Packed:
    """A matrix (outputs, inputs), both filled up with zeros to whole panels and to a multiple of INPUTS.

    panels: (panels, inputs, PANEL), of INT8 (panels, inputs / 2, PANEL, 2). scales: (panels, blocks, PANEL) float32,
    what a whole number of INT8 is worth; of other kinds it is empty and there is one block.
    """

    kind: int
    outputs: int
    panels: Tensor
    scales: Tensor
    blocks: int

    @property
    def inputs(self) -> int:
        return self.panels.shape[1] * TOGETHER[self.kind]

    @property
    def bytes(self) -> int:
        return self.panels.nbytes + self.scales.nbytes


def pack(matrix: Tensor, kind: int, block: int = INPUTS) -> Packed:
    """Pack `matrix`, (outputs, inputs) of any float type, as FLOAT32, BFLOAT16 or INT8.

    block: how many inputs share a scale in INT8, a multiple of INPUTS and at most BLOCK_MOST; where it does not divide
    the inputs, INPUTS of them do.
    """
    assert block % INPUTS == 0 and block <= BLOCK_MOST
    outputs, inputs = matrix.shape
    filled = F.pad(matrix.detach(), (0, -inputs % INPUTS, 0, -outputs % PANEL))
    if kind != INT8:
        return Packed(kind, outputs, _panels(filled.to(_DTYPES[kind])), torch.empty(0), 1)
    width = filled.shape[1]
    blocks = width // (INPUTS if width % block else block)
    cut = filled.float().view(len(filled), blocks, -1)
    scales = cut.abs().amax(-1) / _MOST
    # A row of zeros has any scale.
    whole = (cut / scales.masked_fill(scales == 0, 1)[..., None]).round_().to(torch.int8)
    pairs = _panels(whole.view(filled.shape)).view(-1, width // 2, 2, PANEL).transpose(2, 3).contiguous()
    return Packed(kind, outputs, pairs, _panels(scales), blocks)


def unpack(packed: Packed) -> Tensor:
    """The matrix as the machine sees it, (outputs, inputs) float32."""
    panels = packed.panels
    if packed.kind == INT8:
        panels = panels.transpose(2, 3).reshape(len(panels), packed.inputs, PANEL)
    matrix = _rows(panels).float()
    if packed.kind == INT8:
        scales = _rows(packed.scales)
        matrix = (matrix.view(len(matrix), packed.blocks, -1) * scales[..., None]).view(matrix.shape)
    return matrix[: packed.outputs]


def _panels(rows: Tensor) -> Tensor:
    return rows.view(-1, PANEL, rows.shape[1]).transpose(1, 2).contiguous()


def _rows(panels: Tensor) -> Tensor:
    return panels.transpose(1, 2).reshape(-1, panels.shape[1])
