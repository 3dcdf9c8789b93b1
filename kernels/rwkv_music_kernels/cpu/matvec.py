"""Rows times a packed matrix, the loop that takes nearly all the time, written out in LLVM IR.

A matrix is packed in panels: PANEL outputs wide, a panel holds for every input its PANEL weights side by side, so that
it is read as one stream and no sum runs across lanes. A tile is some rows of inputs against one or two panels.

INT8 meets inputs that are whole numbers too (see `whole`), and two of them at once: processors multiply pairs of 16 bits
and add each pair up in one instruction, which takes half the instructions that floats would.

Every output adds its inputs up in their order, whatever the tile: a result never depends on which rows or panels are
worked on beside it.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from rwkv_music_kernels.cpu.kernel import Kernel
from rwkv_music_kernels.cpu.vectors import LANES

PANEL = LANES

# How weights are stored. INT8 has a float scale for every output and block of inputs. TILES are bfloat16 for `tiles`.
FLOAT32, BFLOAT16, INT8, TILES = range(4)
# Inputs are a multiple of this; so are blocks.
INPUTS = 32
# The most inputs of a block: sums of as many products of 8 and 16 bits keep within 32.
BLOCK_MOST = 512
# Inputs whose weights for one output lie side by side, and how many such groups one turn of the inner loop takes.
TOGETHER = (1, 1, 2)
_UNROLL = 4

_FLOAT, _WORD, _LONG = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(_FLOAT, PANEL)
_WORDS = ir.VectorType(_WORD, PANEL)
_PAIRS = ir.VectorType(_WORD, 2 * PANEL)
_STORED = (_FLOATS, ir.VectorType(ir.IntType(16), PANEL), ir.VectorType(ir.IntType(8), 2 * PANEL))
_BYTES = (4, 2, 1)


def target() -> tuple[str, frozenset[str]]:
    """What Numba compiles for: the platform, and the instruction sets it may use."""
    platform, _, features = cpu_target.target_context.codegen().magic_tuple()  # pyright: ignore[reportAttributeAccessIssue]
    return platform, frozenset(name[1:] for name in features.split(",") if name.startswith("+"))


def instruction_set() -> str:
    """The widest vectors that the tiles are compiled to, for a person to read."""
    platform, features = target()
    known = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse2": "SSE2", "sve": "SVE", "neon": "NEON"}
    # Every 64-bit ARM has NEON, and not every system names it.
    otherwise = "NEON" if platform.startswith(("aarch64", "arm64")) else platform.split("-")[0]
    return next((name for feature, name in known.items() if feature in features), otherwise)


# Sums are kept in registers: sixteen of AVX-512's thirty-two, twelve of AVX2's sixteen.
_WIDE = "avx512f" in target()[1]
# x86 multiplies pairs and adds each up at once; ARM takes the first of all pairs, then the second.
_PAIRED = target()[0].startswith(("x86_64", "i386", "i686"))
# The rows of each tile; the first is one row against two panels, all others are against one.
TILE_ROWS = (1, 1, 2, 4, 8) if _WIDE else (1, 1, 2, 3)
PAIR = 0


def _tiles(kind: int) -> Callable[..., Any]:
    """A function for use inside Numba that does a tile of weights of one kind: see `multiply_float32`."""

    def define(typingctx, tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on):
        def generate(context, builder, signature, values):
            tile, *rest = values
            done = builder.append_basic_block("multiplied")
            choice = builder.switch(tile, done)
            for number in range(len(TILE_ROWS)):
                case = builder.append_basic_block(f"tile{number}")
                choice.add_case(_LONG(number), case)
                builder.position_at_end(case)
                _tile(builder, kind, number, *rest)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), generate

    return intrinsic(define)


_float32, _bfloat16, _int8 = map(_tiles, (FLOAT32, BFLOAT16, INT8))


@Kernel
def multiply_float32(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on):
    """room[row, panel] = the sums of x[row, k] weight[panel, k] for the rows and panels of a tile.

    tile: index into TILE_ROWS. x: address of the first row; rows are `pitch` floats apart, and for INT8 as `whole`
    leaves them. weights: address of the first panel; panels are `panel_bytes` apart. scales: of the first panel,
    (blocks, PANEL); only for INT8. inputs: how many, all of a row for INT8, where `block` of them share a scale. goes_on: the
    sums go on from what the room holds, that of the inputs before these; not for INT8.
    """
    _float32(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on)


@Kernel
def multiply_bfloat16(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on):
    """See `multiply_float32`."""
    _bfloat16(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on)


@Kernel
def multiply_int8(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on):
    """See `multiply_float32`."""
    _int8(tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on)


# By the kind of weights.
MULTIPLY = (multiply_float32, multiply_bfloat16, multiply_int8)


def _tile(builder, kind, tile, x, pitch, weights, panel_bytes, scales, blocks, inputs, block, room, goes_on):
    panels = 2 if tile == PAIR else 1
    row_bytes = builder.mul(pitch, _LONG(4))
    starts = [builder.add(x, builder.mul(row_bytes, _LONG(row))) for row in range(TILE_ROWS[tile])]
    rows = [_at(builder, start, _LONG(0), _WORD if kind == INT8 else _FLOAT) for start in starts]
    streams = [_at(builder, weights, builder.mul(panel_bytes, _LONG(n)), _STORED[kind]) for n in range(panels)]
    nothing = ir.Constant(_WORDS if kind == INT8 else _FLOATS, None)
    sums = [cgutils.alloca_once(builder, nothing.type) for _ in range(len(rows) * panels)]
    totals = [_at(builder, room, _LONG(n * PANEL * 4), _FLOATS) for n in range(len(sums))]
    begun = builder.icmp_signed("!=", goes_on, _LONG(0))
    for total in totals:
        so_far = builder.select(begun, builder.load(total, align=4), ir.Constant(_FLOATS, None))
        builder.store(so_far, total, align=4)
    groups = builder.udiv(block, _LONG(TOGETHER[kind]))
    with cgutils.for_range(builder, builder.udiv(inputs, block)) as outer:
        start = builder.mul(outer.index, groups)
        for place, total in zip(sums, totals, strict=True):
            builder.store(nothing if kind == INT8 else builder.load(total, align=4), place)
        with cgutils.for_range(builder, builder.udiv(groups, _LONG(_UNROLL))) as inner:
            first = builder.add(start, builder.mul(inner.index, _LONG(_UNROLL)))
            for step in range(_UNROLL):
                _add_inputs(builder, kind, rows, streams, sums, builder.add(first, _LONG(step)))
        for n, (place, total) in enumerate(zip(sums, totals, strict=True)):
            result = builder.load(place)
            if kind == INT8:
                row_of_scales = builder.add(builder.mul(blocks, _LONG(n % panels)), outer.index)
                scale = _at(builder, scales, builder.mul(row_of_scales, _LONG(PANEL * 4)), _FLOATS)
                # The scales of a row of inputs lie behind it.
                own = builder.add(builder.mul(inputs, _LONG(2)), builder.mul(outer.index, _LONG(4)))
                worth = _spread(builder, builder.load(_at(builder, starts[n // panels], own, _FLOAT), align=4))
                worth = builder.fmul(builder.load(scale, align=4), worth)
                result = _muladd(builder, builder.sitofp(result, _FLOATS), worth, builder.load(total, align=4))
            builder.store(result, total, align=4)


def _add_inputs(builder, kind, rows, streams, sums, k):
    """Every sum of the tile takes the k-th input, or pair of inputs."""
    stored = [builder.load(builder.gep(stream, [k]), align=_BYTES[kind]) for stream in streams]
    weights = [_factors(builder, panel) for panel in stored]
    for row, x in enumerate(rows):
        spread = _spread(builder, builder.load(builder.gep(x, [k]), align=4))
        if kind == INT8:
            spread = builder.bitcast(spread, ir.VectorType(ir.IntType(16), 2 * PANEL))
        for panel, weight in enumerate(weights):
            place = sums[row * len(weights) + panel]
            so_far = builder.load(place)
            if kind == INT8:
                builder.store(builder.add(so_far, _of_pairs(builder, weight, spread)), place)
            else:
                builder.store(_muladd(builder, weight, spread, so_far), place)


def _factors(builder, stored):
    """Weights as they lie in memory, as floats; INT8 stays."""
    if stored.type in (_STORED[FLOAT32], _STORED[INT8]):
        return stored
    upper = builder.shl(builder.zext(stored, _WORDS), ir.Constant(_WORDS, [16] * PANEL))
    return builder.bitcast(upper, _FLOATS)


def _of_pairs(builder, weights, x):
    """The sum of both products of each pair, in the form in which LLVM finds the instructions of the processor."""
    if _PAIRED:
        first, second = _apart(builder, builder.mul(builder.sext(weights, _PAIRS), builder.sext(x, _PAIRS)))
        return builder.add(first, second)
    products = [
        builder.mul(builder.sext(weight, _WORDS), builder.sext(own, _WORDS))
        for weight, own in zip(_apart(builder, weights), _apart(builder, x), strict=True)
    ]
    return builder.add(*products)


def _apart(builder, pairs):
    """The first of each pair, and the second."""
    return [
        builder.shuffle_vector(pairs, pairs, ir.Constant(_WORDS, list(range(start, 2 * PANEL, 2)))) for start in (0, 1)
    ]


def _spread(builder, x):
    """x, a float or a word, in PANEL lanes."""
    nothing = ir.Constant(ir.VectorType(x.type, PANEL), ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, x, _WORD(0)), nothing, ir.Constant(_WORDS, None))


def _at(builder, address, offset, kind):
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _muladd(builder, x, y, z):
    shape = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
    name = f"llvm.fmuladd.v{PANEL}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [x, y, z])
