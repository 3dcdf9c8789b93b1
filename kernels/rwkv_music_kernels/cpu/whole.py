"""Rows of inputs as whole numbers of 16 bits with a scale for every block, which is how INT8 weights take them.

A row is its inputs, int16, and behind them what one is worth in each block, float32. The error is a 65534th of the
greatest input of the block: far less than that of the weights.
"""

import numpy as np

from rwkv_music_kernels.cpu.kernel import inner
from rwkv_music_kernels.cpu.vectors import LANES, fill, greatest, load, magnitude, mul, store_float, store_whole, zeros

_MOST = 32767


def whole_floats(inputs: int, blocks: int) -> int:
    """Floats of room that a row takes."""
    return inputs // 2 + blocks


@inner
def make_whole(out, x, inputs, blocks):
    """One row, from floats at x. A block with NaN or infinity in it is worth that, so it is in every sum of it."""
    block = inputs // blocks
    for n in range(blocks):
        start = n * block
        most = zeros()
        for i in range(start, start + block, LANES):
            most = magnitude(load(x, i), most)
        peak = greatest(most)
        # A block of zeros has any scale.
        scale = fill(np.float32(_MOST) / peak if peak > 0 else np.float32(0))
        for i in range(start, start + block, LANES):
            store_whole(out, i, mul(load(x, i), scale))
        store_float(out, inputs // 2 + n, peak / np.float32(_MOST))
