"""Rows of a call and where they lie in its scratch memory."""

from rwkv_music_kernels.cpu import layout as at
from rwkv_music_kernels.cpu.kernel import inner

FLOAT = 4
# Bytes of a line of the caches; of a longer one every part is asked for.
LINE = 64


@inner
def rows_of(step, call):
    """The rows that a step is done for: the first, and the one behind the last."""
    pieces, length = call[at.PIECES], call[at.LENGTH]
    if step[at.COUNT] == at.TOKENS or call[at.ALL_LOGITS]:
        return 0, pieces * length
    if step[at.COUNT] == at.RESULTS:
        return 0, pieces
    return max(0, length - 2) if pieces == 1 else 0, pieces * length


@inner
def buffer(call, row, column):
    """Where a buffer of a row lies."""
    return call[at.SCRATCH_AT] + (row * call[at.PITCH] + column) * FLOAT
