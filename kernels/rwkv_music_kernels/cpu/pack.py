"""Matrices in the order in which `matvec` reads them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.cpu.matvec import BFLOAT16, BLOCK_MOST, FLOAT32, INPUTS, INT8, PANEL, TOGETHER

_DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}
_MOST = 127
# Weights that are packed at a time: what the memory that this takes beside the packed matrix grows with.
_AT_ONCE = 1 << 18


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


def pack(matrix: Tensor, kind: int, block: int = INPUTS, empty: Callable[..., Tensor] = torch.empty) -> Packed:
    """Pack `matrix`, (outputs, inputs) of any float type, as FLOAT32, BFLOAT16 or INT8.

    FLOAT32 that fits BFLOAT16 without loss, as what was saved in bfloat16 does, becomes that: half as much is read, and
    products are the same bits, as both kinds multiply and add floats in the same order.

    block: how many inputs share a scale in INT8, a multiple of INPUTS and at most BLOCK_MOST; where it does not divide
    the inputs, INPUTS of them do. empty: where the memory comes from.
    """
    assert block % INPUTS == 0 and block <= BLOCK_MOST
    kind = BFLOAT16 if kind == FLOAT32 and fits_bfloat16(matrix) else kind
    outputs, inputs = matrix.shape
    width, count = inputs + -inputs % INPUTS, -(-outputs // PANEL)
    if kind == INT8:
        blocks = width // (INPUTS if width % block else block)
        panels, scales = empty(count, width // 2, PANEL, 2, dtype=torch.int8), empty(count, blocks, PANEL)
    else:
        blocks, panels, scales = 1, empty(count, width, PANEL, dtype=_DTYPES[kind]), torch.empty(0)
    step = max(1, _AT_ONCE // (width * PANEL))
    for first in range(0, count, step):
        rows = matrix.detach()[first * PANEL : (first + step) * PANEL]
        if width > inputs or len(rows) % PANEL:
            rows = F.pad(rows, (0, width - inputs, 0, -len(rows) % PANEL))
        part = slice(first, first + len(rows) // PANEL)
        if kind != INT8:
            panels[part] = _panels(rows)
            continue
        cut = rows.float().view(len(rows), blocks, -1)
        worth = cut.abs().amax(-1) / _MOST
        # A row of zeros has any scale.
        whole = (cut / worth.masked_fill(worth == 0, 1)[..., None]).round_().to(torch.int8)
        panels[part] = _panels(whole.view(len(rows), width)).unflatten(1, (-1, 2)).transpose(2, 3)
        scales[part] = _panels(worth)
    return Packed(kind, outputs, panels, scales, blocks)


def fits_bfloat16(matrix: Tensor) -> bool:
    """Whether bfloat16 holds every number of a matrix exactly."""
    if matrix.dtype is torch.bfloat16:
        return True
    rows = max(1, _AT_ONCE // matrix.shape[1])
    return all(torch.equal(part.bfloat16().to(part.dtype), part) for part in matrix.detach().split(rows))


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
    return rows.view(-1, PANEL, rows.shape[1]).transpose(1, 2)


def _rows(panels: Tensor) -> Tensor:
    return panels.transpose(1, 2).reshape(-1, panels.shape[1])
