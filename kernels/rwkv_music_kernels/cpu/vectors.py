"""Vectors of LANES floats inside Numba: what the auto-vectoriser would miss, said outright in LLVM IR.

LLVM splits a vector that is wider than the registers of the machine, so the same code serves AVX2, AVX-512 and NEON.
Every array is flat, contiguous float32 and addressed by offset; nothing checks a bound.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 32
# Sums over lanes are gathered this wide first.
NARROW = 16

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_NARROWS = ir.VectorType(ir.FloatType(), NARROW)


class Lanes(types.Type):
    """The Numba type of one vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{LANES}")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _FLOATS)


def _address(context, builder, array_type, array, index, kind=_FLOATS):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


def _muladd(builder, x, y, z):
    shape = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fmuladd.v{x.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [x, y, z])


@intrinsic
def load(typingctx, array, index):
    """array[index : index + LANES]"""

    def generate(context, builder, signature, args):
        return builder.load(_address(context, builder, signature.args[0], *args), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(typingctx, array, index, vector):
    """array[index : index + LANES] = vector"""

    def generate(context, builder, signature, args):
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def spread(typingctx, array, index):
    """array[index] in every lane."""

    def generate(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        first = builder.insert_element(
            ir.Constant(_FLOATS, ir.Undefined), builder.load(builder.gep(data, [args[1]])), ir.IntType(32)(0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), everywhere)

    return lanes(array, types.intp), generate


@intrinsic
def zeros(typingctx):
    """0 in every lane."""

    def generate(context, builder, signature, args):
        return ir.Constant(_FLOATS, [0.0] * LANES)

    return lanes(), generate


@intrinsic
def mul(typingctx, x, y):
    """x y, lane by lane."""

    def generate(context, builder, signature, args):
        return builder.fmul(*args)

    return lanes(lanes, lanes), generate


@intrinsic
def muladd(typingctx, x, y, z):
    """x y + z, lane by lane, in one rounding where the machine can."""

    def generate(context, builder, signature, args):
        return _muladd(builder, *args)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def begin(typingctx, parts, index, x, y):
    """parts[index : index + NARROW] = x y, lanes that lie NARROW apart added up."""

    def generate(context, builder, signature, args):
        _gather(context, builder, signature, args, None)
        return context.get_dummy_value()

    return types.void(parts, types.intp, lanes, lanes), generate


@intrinsic
def gather(typingctx, parts, index, x, y):
    """parts[index : index + NARROW] += x y, lanes that lie NARROW apart added up."""

    def generate(context, builder, signature, args):
        address = _address(context, builder, signature.args[0], *args[:2], _NARROWS)
        _gather(context, builder, signature, args, builder.load(address, align=4))
        return context.get_dummy_value()

    return types.void(parts, types.intp, lanes, lanes), generate


def _gather(context, builder, signature, args, total):
    parts, index, x, y = args
    for first in range(0, LANES, NARROW):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), NARROW), list(range(first, first + NARROW)))
        x_part, y_part = (builder.shuffle_vector(whole, whole, mask) for whole in (x, y))
        total = builder.fmul(x_part, y_part) if total is None else _muladd(builder, x_part, y_part, total)
    builder.store(total, _address(context, builder, signature.args[0], parts, index, _NARROWS), align=4)


@intrinsic
def fold(typingctx, out, start, parts, index):
    """out[start + i] = the sum of parts[index + i NARROW :][: NARROW], for i < NARROW."""

    def generate(context, builder, signature, args):
        vectors = []
        for row in range(NARROW):
            place = builder.add(args[3], ir.IntType(64)(row * NARROW))
            address = _address(context, builder, signature.args[2], args[2], place, _NARROWS)
            vectors.append(builder.load(address, align=4))
        segment = NARROW
        while len(vectors) > 1:
            vectors = [_halve(builder, x, y, segment) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
            segment //= 2
        address = _address(context, builder, signature.args[0], *args[:2], _NARROWS)
        builder.store(vectors[0], address, align=4)
        return context.get_dummy_value()

    return types.void(out, types.intp, parts, types.intp), generate


def _halve(builder, x, y, segment):
    """Add the upper half of each segment of x and y to its lower half; x's segments come first in the result."""
    low = [start + lane for start in range(0, 2 * NARROW, segment) for lane in range(segment // 2)]
    high = [lane + segment // 2 for lane in low]
    mask = ir.VectorType(ir.IntType(32), NARROW)
    return builder.fadd(
        builder.shuffle_vector(x, y, ir.Constant(mask, low)), builder.shuffle_vector(x, y, ir.Constant(mask, high))
    )
