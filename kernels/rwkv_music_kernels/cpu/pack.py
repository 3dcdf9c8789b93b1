"""Matrices in the order in which `matvec` reads them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rwkv_music_kernels.cpu.matvec import BFLOAT16, BLOCK_MOST, FLOAT32, INPUTS, INT8, PANEL, TILES

_DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16, INT8: torch.int8, TILES: torch.bfloat16}
# What is moved as one, inputs that lie side by side; and how a panel lies: into what its outputs and the groups of its inputs
# are cut, and the order of the pieces.
_GROUPS = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16, INT8: torch.int16, TILES: torch.int32}
_PLAIN = ((PANEL,), (-1,), (1, 0))
_ORDERS = {FLOAT32: _PLAIN, BFLOAT16: _PLAIN, INT8: _PLAIN, TILES: ((2, PANEL // 2), (-1, INPUTS // 2), (2, 0, 3, 1))}
_MOST = 127
# Weights that are packed at a time: what the memory that this takes beside the packed matrix grows with.
_AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Packed:
    """A matrix (outputs, inputs), both filled up with zeros to whole panels and to a multiple of INPUTS.

    panels: (panels, inputs, PANEL), of INT8 and TILES in another order within a panel: (inputs / 2, PANEL, 2) and
    (inputs / INPUTS, PANEL / 16, INPUTS / 2, 16, 2), pairs of inputs side by side. scales: (panels, blocks, PANEL)
    float32, what a whole number of INT8 is worth; of other kinds it is empty and there is one block.
    """

    kind: int
    outputs: int
    panels: Tensor
    scales: Tensor
    blocks: int

    @property
    def inputs(self) -> int:
        return self.panels.shape[1]

    @property
    def bytes(self) -> int:
        return self.panels.nbytes + self.scales.nbytes


def pack(
    matrix: Tensor, kind: int, block: int = INPUTS, empty: Callable[..., Tensor] = torch.empty, halves: int = BFLOAT16
) -> Packed:
    """Pack `matrix`, (outputs, inputs) of any float type, as FLOAT32, BFLOAT16 or INT8.

    FLOAT32 that fits BFLOAT16 without loss, as what was saved in bfloat16 does, becomes that: half as much is read, and
    products are the same bits, as both kinds multiply and add floats in the same order.

    block: how many inputs share a scale in INT8, a multiple of INPUTS and at most BLOCK_MOST; where it does not divide
    the inputs, INPUTS of them do. empty: where the memory comes from. halves: what BFLOAT16 is packed as, that or TILES,
    whose products are as exact but not the same bits.
    """
    assert block % INPUTS == 0 and block <= BLOCK_MOST
    if kind == BFLOAT16 or (kind == FLOAT32 and fits_bfloat16(matrix)):
        kind = halves
    outputs, inputs = matrix.shape
    width, count = inputs + -inputs % INPUTS, -(-outputs // PANEL)
    panels, blocks, scales = empty(count, width, PANEL, dtype=_DTYPES[kind]), 1, torch.empty(0)
    if kind == INT8:
        blocks = width // (INPUTS if width % block else block)
        scales = empty(count, blocks, PANEL)
    step = max(1, _AT_ONCE // (width * PANEL))
    for first in range(0, count, step):
        rows = matrix.detach()[first * PANEL : (first + step) * PANEL]
        if width > inputs or len(rows) % PANEL:
            rows = F.pad(rows, (0, width - inputs, 0, -len(rows) % PANEL))
        part = slice(first, first + len(rows) // PANEL)
        if kind != INT8:
            _put(panels[part], rows, kind)
            continue
        cut = rows.float().view(len(rows), blocks, -1)
        worth = cut.abs().amax(-1) / _MOST
        # A row of zeros has any scale.
        whole = (cut / worth.masked_fill(worth == 0, 1)[..., None]).round_().to(torch.int8)
        _put(panels[part], whole.view(len(rows), width), kind)
        _put(scales[part], worth, FLOAT32)
    return Packed(kind, outputs, panels, scales, blocks)


def fits_bfloat16(matrix: Tensor) -> bool:
    """Whether bfloat16 holds every number of a matrix exactly."""
    if matrix.dtype is torch.bfloat16:
        return True
    rows = max(1, _AT_ONCE // matrix.shape[1])
    return all(torch.equal(part.bfloat16().to(part.dtype), part) for part in matrix.detach().split(rows))


def unpack(packed: Packed) -> Tensor:
    """The matrix as the machine sees it, (outputs, inputs) float32."""
    matrix = _rows(packed.panels, packed.kind).float()
    if packed.kind == INT8:
        scales = _rows(packed.scales, FLOAT32)
        matrix = (matrix.view(len(matrix), packed.blocks, -1) * scales[..., None]).view(matrix.shape)
    return matrix[: packed.outputs]


def _put(panels: Tensor, rows: Tensor, kind: int) -> None:
    """Lay rows, (panels * PANEL, inputs), into panels, (panels, inputs, PANEL)."""
    outputs, inputs, order = _ORDERS[kind]
    # Groups can be seen only where the memory of the rows begins with a whole one.
    rows = rows.clone() if rows.storage_offset() % 2 else rows
    groups = rows.to(panels.dtype).contiguous().view(_GROUPS[kind])
    cut = groups.view(len(panels), *outputs, *inputs).permute(0, *(place + 1 for place in order))
    panels.flatten(1).view(_GROUPS[kind]).view(cut.shape).copy_(cut)


def _rows(panels: Tensor, kind: int) -> Tensor:
    """The rows that lie in panels: undo `_put`."""
    outputs, inputs, order = _ORDERS[kind]
    sizes = (*outputs, *inputs)
    cut = panels.flatten(1).view(_GROUPS[kind]).view(len(panels), *(sizes[place] for place in order))
    groups = cut.permute(0, *(order.index(place) + 1 for place in range(len(order))))
    return groups.reshape(len(panels) * PANEL, -1).view(panels.dtype)
