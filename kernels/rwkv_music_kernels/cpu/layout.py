"""How a program and a call to it lie in memory: what `program` writes, `machine` and kernels read, all int64.

A program is a table with a row, a step, for each operation. Numbers named *_AT below are addresses; buffers are given
as the first of their columns in the scratch memory, which has a row for every token of the call.
"""

# Of every step: the kernel that does it, whether all threads wait behind it until it and those before it are done, and
# its tasks: each takes SPAN rows, or PIECE, and SHARE of them take the same. PREPARES: whether it makes something of the
# rows first, which serves all tasks that a thread takes at once.
KERNEL_AT, ENDS, COUNT, SPAN, SHARE = range(5)
PREPARES = 20
PIECE = 0
# What COUNT says a row is: every token of the call; every one whose logits are asked for; or every one that these are made
# of where the memory is known: of one piece whose last logits are asked for, the last two, as a token is mixed with the
# one before.
TOKENS, RESULTS, LAST = range(3)
STEP_SIZE = 21

# EMBED and NORM.
INPUT, OUT, WIDTH, WEIGHT_AT, BIAS_AT, SHIFT, LAYER, TABLE_AT, HALF = range(5, 14)
# Rows that one task of these and of MIX takes.
FEW_ROWS = 4
# What SHIFT says the last row of a piece is kept as, or the row before the first is read from.
NO_SHIFT, TIME_SHIFT, CHANNEL_SHIFT = range(3)

# MIX: INPUT, OUT, WIDTH, SHIFT, LAYER as above; mixes from an address, or else from buffers one behind the other.
MIXES_AT, MIXES, MANY = range(12, 15)

# PRODUCT: INPUT as above.
# WHOLE is the floats of room that a row of inputs of INT8 takes, see `whole`.
TO, INPUTS, PANELS, WEIGHTS_AT, KIND, SCALES_AT, BLOCKS, OFFSET_AT, ACTIVATION, TIMES, ADDS, WHOLE = range(6, 18)
# What multiplies a tile, see `matvec`; and what does where weights were made floats first, 0 where none ever are.
MULTIPLY_AT, WIDE_MULTIPLY_AT = 18, 19
# Rows that one task of a product takes: weights that come from memory meet so many. Of INT8 fewer, as each thread makes
# whole numbers of them in its room.
PRODUCT_ROWS, WHOLE_ROWS = 256, 64
PLAIN, TANH, SIGMOID, SILU, SQUARED_RELU, DECAY7, DECAY6 = range(7)
# Where a product goes that makes logits; and no buffer at all.
LOGITS, NOWHERE = -2, -1

# HEADS*: the buffers of the inputs; VECTORS_AT are vectors of all channels one behind the other, see `heads`.
R, W, K, V, A, GATE, V_FIRST, V_RATE, HEADS, SIZE, Y, VECTORS_AT, DECAY_AT = (*range(5, 11), *range(12, 19))

# A call: B pieces of T tokens; addresses and pitches, in floats, of its memory.
(
    PIECES,
    LENGTH,
    ALL_LOGITS,
    IDS_AT,
    SCRATCH_AT,
    PITCH,
    LOGITS_AT,
    LOGITS_PITCH,
    ROOMS_AT,
    ROOM_PITCH,
    OLD_TIME_SHIFT_AT,
    OLD_CHANNEL_SHIFT_AT,
    OLD_MEMORY_AT,
    NEW_TIME_SHIFT_AT,
    NEW_CHANNEL_SHIFT_AT,
    NEW_MEMORY_AT,
) = range(16)
CALL_SIZE = 16

# int64s of counters a step has: tasks taken and tasks done, each in a cache line of its own.
COUNTERS = 16
DONE = 8
