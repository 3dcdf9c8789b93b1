"""Writing a program for the CPU machine: buffers, weights and operations, in the order they happen."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu import rowwise
from rwkv_music_kernels.cpu.amx import has_tiles
from rwkv_music_kernels.cpu.heads import CHANNELS4, heads4, heads6, heads7, room_floats
from rwkv_music_kernels.cpu.kernel import Kernel
from rwkv_music_kernels.cpu.matvec import BFLOAT16, FLOAT32, INT8, MULTIPLY, PANEL, TILES
from rwkv_music_kernels.cpu.memory import Store
from rwkv_music_kernels.cpu.pack import Packed, fits_bfloat16, pack
from rwkv_music_kernels.cpu.product import SUMS, WIDE, product
from rwkv_music_kernels.cpu.scratch import FLOAT, LINE
from rwkv_music_kernels.cpu.tiles import rows_at_once, tiled, tiled_floats
from rwkv_music_kernels.cpu.vectors import LANES
from rwkv_music_kernels.cpu.whole import whole_floats

# How large matrices and small ones are kept.
KINDS = {"float32": (FLOAT32, FLOAT32), "bfloat16": (BFLOAT16, BFLOAT16), "int8": (INT8, BFLOAT16)}
# Inputs that share a scale in INT8.
INT8_BLOCK = 64
# Floats that a scratch row is longer than a page by, lest the same columns of all rows fall into one cache set.
_PAGE, _BEYOND = 1024, 80


class Program:
    """Operations of one model, and its weights, which live as long as the program does.

    A buffer is known by its first column; its width is that of what is written to it, filled up to whole panels.
    """

    def __init__(self, dtype: str):
        """dtype: of the matrices, one of KINDS; vectors are float32. Raises KernelError.

        What of "float32" fits bfloat16 without loss is kept as that, see `pack`.
        """
        if dtype not in KINDS:
            raise KernelError(f"the CPU machine knows no dtype '{dtype}', only {', '.join(KINDS)}")
        self.large, self.small = KINDS[dtype]
        # Bytes of matrices that a token reads, and floats of scratch and of room that it takes.
        self.bytes = 0
        self.columns = 0
        self.room = SUMS
        self.outputs = 0
        # Whether any matrix is multiplied in tiles.
        self.tiled = False
        # Steps from the first on that make the last layer's memory; those behind are for logits, and what that layer's
        # channel mix remembers.
        self.memory_steps = 0
        self._steps: list[list[int]] = []
        # Everything that steps name by its address.
        self._store = Store()
        self._apart = True

    def table(self) -> np.ndarray:
        """The program as the machine reads it, (steps, STEP_SIZE)."""
        return np.array(self._steps, dtype=np.int64)

    @property
    def pitch(self) -> int:
        """Floats from one scratch row to the next."""
        return self.columns + (_BEYOND - self.columns) % _PAGE

    @contextmanager
    def together(self) -> Iterator[None]:
        """Operations in here do not wait for each other."""
        self._apart = False
        yield
        self._apart = True
        self._steps[-1][at.ENDS] = 1

    def buffer(self, width: int, many: int = 1) -> int:
        """Room for a vector a token, or for `many` of them one behind the other."""
        start = self.columns
        self.columns += -(-width // PANEL) * PANEL * many
        return start

    def vectors(self, *tensors: Tensor) -> int:
        """Keep float32 vectors one behind the other, and return their address."""
        return self._keep(torch.cat([tensor.detach().float().flatten() for tensor in tensors]), torch.float32)

    def matrix(self, tensor: Tensor, *, small: bool = False) -> Packed:
        """Pack (outputs, inputs)."""
        halves = TILES if has_tiles() else BFLOAT16
        packed = pack(tensor, self.small if small else self.large, INT8_BLOCK, self._store.empty, halves)
        self.bytes += packed.bytes
        return packed

    def embed(self, table: Tensor, norm: tuple[Tensor, Tensor], out: int) -> None:
        """out = LayerNorm(table[id]), table: (V, C)."""
        half, width = self.large != FLOAT32 or fits_bfloat16(table), table.shape[1]
        self._multiple("the width", width)
        kept = self._keep(table, torch.bfloat16 if half else torch.float32)
        fields = {at.OUT: out, at.WIDTH: width, at.TABLE_AT: kept, at.HALF: int(half)}
        self._add(rowwise.embed, fields | self._norm(norm))

    def norm(
        self,
        x: int,
        out: int,
        norm: tuple[Tensor, Tensor],
        shift: int = at.NO_SHIFT,
        layer: int = 0,
        count: int = at.TOKENS,
    ) -> None:
        """out = LayerNorm(x), its last token kept as that shift of the layer."""
        fields = {
            at.INPUT: x,
            at.OUT: out,
            at.WIDTH: norm[0].numel(),
            at.SHIFT: shift,
            at.LAYER: layer,
            at.COUNT: count,
        }
        self._add(rowwise.norm, fields | self._norm(norm))

    def mix(
        self,
        x: int,
        out: int,
        mixes: Sequence[Tensor],
        width: int,
        shift: int,
        layer: int,
        count: int = at.TOKENS,
    ) -> None:
        """out, out + width, ... = x + (x_before - x) m for each m of `mixes`, vectors."""
        fields = {at.INPUT: x, at.OUT: out, at.WIDTH: width, at.SHIFT: shift, at.LAYER: layer, at.COUNT: count}
        self._add(rowwise.mix, fields | {at.MIXES_AT: self.vectors(*mixes), at.MANY: len(mixes)})

    def mix_by(self, x: int, out: int, mixes: int, many: int, width: int, shift: int, layer: int) -> None:
        """The same with mixes of every token, from `many` buffers one behind the other."""
        fields = {at.INPUT: x, at.OUT: out, at.WIDTH: width, at.SHIFT: shift, at.LAYER: layer}
        self._add(rowwise.mix, fields | {at.MIXES: mixes, at.MANY: many})

    def product(
        self,
        x: int,
        matrix: Tensor | Packed,
        to: int,
        *,
        offset: Tensor | None = None,
        activation: int = at.PLAIN,
        times: int = at.NOWHERE,
        adds: bool = False,
        count: int = at.TOKENS,
        small: bool = False,
    ) -> None:
        """to = activation(matrix x + offset) times, put there or added; matrix: (outputs, inputs)."""
        packed = matrix if isinstance(matrix, Packed) else self.matrix(matrix, small=small)
        if to == at.LOGITS:
            self.outputs = packed.outputs
        fields = {
            at.INPUT: x,
            at.TO: to,
            at.INPUTS: packed.inputs,
            at.PANELS: packed.panels.shape[0],
            at.WEIGHTS_AT: packed.panels.data_ptr(),
            at.KIND: packed.kind,
            at.SCALES_AT: packed.scales.data_ptr(),
            at.BLOCKS: packed.blocks,
            at.OFFSET_AT: 0 if offset is None else self.vectors(offset),
            at.ACTIVATION: activation,
            at.TIMES: times,
            at.ADDS: int(adds),
            at.COUNT: count,
            at.SHARE: -(-packed.panels.shape[0] // 2),
        }
        if offset is not None:
            self._multiple("a vector that is added", offset.numel())
        if packed.kind == TILES:
            self.tiled = True
            self._rooms(tiled_floats(packed.inputs))
            self._add(tiled, fields | {at.SPAN: rows_at_once(packed.inputs), at.PREPARES: 1})
            return
        fields |= {at.SPAN: at.PRODUCT_ROWS, at.MULTIPLY_AT: MULTIPLY[packed.kind].address}
        if packed.kind == INT8:
            fields |= {at.SPAN: at.WHOLE_ROWS, at.PREPARES: 1, at.WHOLE: whole_floats(packed.inputs, packed.blocks)}
            self._rooms(SUMS + at.WHOLE_ROWS * fields[at.WHOLE])
        if packed.kind == BFLOAT16:
            fields |= {at.WIDE_MULTIPLY_AT: MULTIPLY[FLOAT32].address}
            self._rooms(SUMS + WIDE)
        self._add(product, fields)

    def heads7(self, buffers: Mapping[int, int], vectors: Sequence[Tensor], heads: int, size: int, layer: int) -> None:
        """RWKV-7's heads, see `heads`; buffers: by the names of `layout`, R to Y."""
        self._heads(heads7, {at.V_FIRST: at.NOWHERE, at.V_RATE: at.NOWHERE, **buffers}, vectors, heads, size, layer)

    def heads6(
        self,
        buffers: Mapping[int, int],
        vectors: Sequence[Tensor],
        heads: int,
        size: int,
        layer: int,
        decay: Tensor | None = None,
    ) -> None:
        """RWKV-5's and 6's heads; decay: where it is the same for all tokens, (C)."""
        fixed = 0 if decay is None else self.vectors(decay)
        given = {at.GATE: at.NOWHERE, at.W: 0, at.DECAY_AT: fixed, **buffers}
        self._heads(heads6, given, vectors, heads, size, layer)

    def heads4(self, buffers: Mapping[int, int], vectors: Sequence[Tensor], width: int, layer: int) -> None:
        """RWKV-4's channels."""
        self._multiple("the width", width)
        self._heads(heads4, buffers, vectors, width // CHANNELS4, CHANNELS4, layer)

    def _heads(
        self, kernel: Kernel, buffers: Mapping[int, int], vectors: Sequence[Tensor], heads: int, size: int, layer: int
    ) -> None:
        self._multiple("the size of a head", size)
        self._rooms(room_floats(size))
        fields = {at.SPAN: at.PIECE, at.SHARE: heads, at.HEADS: heads, at.SIZE: size, at.LAYER: layer}
        self._add(kernel, fields | {**buffers, at.VECTORS_AT: self.vectors(*vectors)})
        self.memory_steps = len(self._steps)

    def _rooms(self, floats: int) -> None:
        """Rooms of threads are so large at least, and whole lines."""
        self.room = max(self.room, floats + -floats % (LINE // FLOAT))

    def _norm(self, norm: tuple[Tensor, Tensor]) -> dict[int, int]:
        return {at.WEIGHT_AT: self.vectors(norm[0]), at.BIAS_AT: self.vectors(norm[1])}

    def _keep(self, tensor: Tensor, dtype: torch.dtype) -> int:
        # Apart from what is freed again: what is kept would lie in the gaps that large tensors leave, and those grow.
        return self._store.empty(*tensor.shape, dtype=dtype).copy_(tensor.detach()).data_ptr()

    def _add(self, kernel: Kernel, fields: Mapping[int, int]) -> None:
        step = [0] * at.STEP_SIZE
        step[at.KERNEL_AT], step[at.ENDS] = kernel.address, int(self._apart)
        step[at.SPAN], step[at.SHARE] = at.FEW_ROWS, 1
        for place, value in fields.items():
            step[place] = value
        self._steps.append(step)

    @staticmethod
    def _multiple(what: str, number: int) -> None:
        if number % LANES:
            raise KernelError(f"the CPU machine takes multiples of {LANES}, {what} is {number}")
