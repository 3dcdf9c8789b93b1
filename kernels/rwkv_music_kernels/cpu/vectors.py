"""Vectors of LANES floats inside Numba: what the auto-vectoriser would miss, said outright in LLVM IR.

LLVM splits a vector that is wider than the registers of the machine, so the same code serves AVX2, AVX-512 and NEON.
Arrays are addresses (`Tensor.data_ptr()`) with an index counted in elements; nothing checks a bound. Numba's cache
watches the file of a kernel, not this one: after a change here, change or touch the kernels that use it.
"""

import math

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 32
# Sums over lanes are gathered this wide first.
NARROW = 16

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_NARROWS = ir.VectorType(ir.FloatType(), NARROW)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)


class Lanes(types.Type):
    """The Numba type of one vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{LANES}")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _FLOATS)


def _width(kind):
    """Bytes of one element."""
    return 2 if kind == _HALVES else 4


def _pointer(builder, address, index, kind):
    """`index` elements behind `address`, as a pointer to `kind`."""
    offset = builder.mul(index, ir.IntType(64)(_width(kind)))
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _load(builder, address, index, kind=_FLOATS):
    return builder.load(_pointer(builder, address, index, kind), align=_width(kind))


def _store(builder, value, address, index):
    builder.store(value, _pointer(builder, address, index, value.type), align=_width(value.type))


def _muladd(builder, x, y, z):
    shape = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fmuladd.v{x.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [x, y, z])


def _all(value, kind=_FLOATS):
    return ir.Constant(kind, [value] * LANES)


@intrinsic
def load(typingctx, address, index):
    """LANES floats."""

    def generate(context, builder, signature, args):
        return _load(builder, *args)

    return lanes(types.intp, types.intp), generate


@intrinsic
def store(typingctx, address, index, x):
    """Put LANES floats."""

    def generate(context, builder, signature, args):
        _store(builder, args[2], *args[:2])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes), generate


@intrinsic
def load_bf16(typingctx, address, index):
    """LANES bfloat16 as floats: the upper half of a float's bits."""

    def generate(context, builder, signature, args):
        bits = builder.zext(_load(builder, *args, kind=_HALVES), _WORDS)
        return builder.bitcast(builder.shl(bits, _all(16, _WORDS)), _FLOATS)

    return lanes(types.intp, types.intp), generate


@intrinsic
def store_bf16(typingctx, address, index, x):
    """Put LANES floats as bfloat16, rounded to nearest, ties to even; NaN stays NaN."""

    def generate(context, builder, signature, args):
        bits = builder.bitcast(args[2], _WORDS)
        odd = builder.and_(builder.lshr(bits, _all(16, _WORDS)), _all(1, _WORDS))
        rounded = builder.lshr(builder.add(bits, builder.add(odd, _all(0x7FFF, _WORDS))), _all(16, _WORDS))
        is_nan = builder.fcmp_unordered("uno", args[2], args[2])
        chosen = builder.select(is_nan, _all(0x7FC0, _WORDS), rounded)
        _store(builder, builder.trunc(chosen, _HALVES), *args[:2])
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes), generate


@intrinsic
def spread(typingctx, address, index):
    """One float in every lane."""

    def generate(context, builder, signature, args):
        alone = builder.load(_pointer(builder, *args, ir.FloatType()), align=4)
        first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), alone, ir.IntType(32)(0))
        return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), _all(0, _WORDS))

    return lanes(types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def number(typingctx, value):
    """A literal whole number in every lane."""

    def generate(context, builder, signature, args):
        return _all(float(value.literal_value))

    return lanes(value), generate


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
def exp(typingctx, x):
    """e^x, lane by lane, to one unit in the last place or so; 0 or infinity is never reached, NaN stays NaN.

    x = n ln 2 + rest with a whole n; e^rest is its Taylor sum, and n goes to the exponent.
    """

    def generate(context, builder, signature, args):
        (x,) = args
        for sign, edge in (("<", -87.0), (">", 88.0)):
            x = builder.select(builder.fcmp_ordered(sign, x, _all(edge)), _all(edge), x)
        # Adding 1.5 * 2^23 leaves no bits for a fraction, so n is what stays in the lowest bits.
        shifter = _all(1.5 * 2**23)
        shifted = _muladd(builder, x, _all(1 / math.log(2)), shifter)
        n = builder.fsub(shifted, shifter)
        # ln 2 in two pieces, the first so short that n times it is exact.
        rest = _muladd(builder, n, _all(-0.693359375), x)
        rest = _muladd(builder, n, _all(0.693359375 - math.log(2)), rest)
        result = _all(1 / math.factorial(7))
        for power in range(6, -1, -1):
            result = _muladd(builder, result, rest, _all(1 / math.factorial(power)))
        exponent = builder.shl(builder.bitcast(shifted, _WORDS), _all(23, _WORDS))
        scale = builder.bitcast(builder.add(exponent, _all(127 << 23, _WORDS)), _FLOATS)
        return builder.fmul(result, scale)

    return lanes(lanes), generate


@intrinsic
def begin(typingctx, parts, index, x, y):
    """parts[index : index + NARROW] = x y, lanes that lie NARROW apart added up."""

    def generate(context, builder, signature, args):
        _gather(builder, args, None)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes, lanes), generate


@intrinsic
def gather(typingctx, parts, index, x, y):
    """parts[index : index + NARROW] += x y, lanes that lie NARROW apart added up."""

    def generate(context, builder, signature, args):
        _gather(builder, args, _load(builder, *args[:2], kind=_NARROWS))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, lanes, lanes), generate


def _gather(builder, args, total):
    parts, index, x, y = args
    for first in range(0, LANES, NARROW):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), NARROW), list(range(first, first + NARROW)))
        x_part, y_part = (builder.shuffle_vector(whole, whole, mask) for whole in (x, y))
        total = builder.fmul(x_part, y_part) if total is None else _muladd(builder, x_part, y_part, total)
    _store(builder, total, parts, index)


@intrinsic
def fold(typingctx, out, start, parts, index):
    """out[start + i] = the sum of parts[index + i NARROW :][: NARROW], for i < NARROW."""

    def generate(context, builder, signature, args):
        out, start, parts, index = args
        places = [builder.add(index, ir.IntType(64)(row * NARROW)) for row in range(NARROW)]
        vectors = [_load(builder, parts, place, kind=_NARROWS) for place in places]
        segment = NARROW
        while len(vectors) > 1:
            vectors = [_halve(builder, x, y, segment) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
            segment //= 2
        _store(builder, vectors[0], out, start)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.intp), generate


def _halve(builder, x, y, segment):
    """Add the upper half of each segment of x and y to its lower half; x's segments come first in the result."""
    low = [start + lane for start in range(0, 2 * NARROW, segment) for lane in range(segment // 2)]
    high = [lane + segment // 2 for lane in low]
    mask = ir.VectorType(ir.IntType(32), NARROW)
    return builder.fadd(
        builder.shuffle_vector(x, y, ir.Constant(mask, low)), builder.shuffle_vector(x, y, ir.Constant(mask, high))
    )
