"""Rows of a call and where they lie in its scratch memory."""

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.kernel import inner

FLOAT = 4


@inner
def count_rows(step, call):
    """The rows that a step is done for."""
    if step[at.COUNT] == at.RESULTS and not call[at.ALL_LOGITS]:
        return call[at.PIECES]
    return call[at.PIECES] * call[at.LENGTH]


@inner
def buffer(call, row, column):
    """Where a buffer of a row lies."""
    return call[at.SCRATCH_AT] + (row * call[at.PITCH] + column) * FLOAT
