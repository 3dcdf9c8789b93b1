"""Vectors of LANES floats inside Numba: what the auto-vectoriser would miss, said outright in LLVM IR.

LLVM splits a vector that is wider than the registers of the machine, so the same code serves AVX2, AVX-512 and NEON.
Memory is an address (`Tensor.data_ptr()`) and an index counted in elements; nothing checks a bound. Numba's cache
watches the file of a kernel, not this one: after a change here, touch the kernels that use it.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

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


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _FLOATS)


_lanes = Lanes()
_int = types.intp
_float = types.float32

# (tanh x - x) / x^3 in powers of x^2, highest first, for |x| < 0.625.
_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)


def operation(result: types.Type, *given: types.Type) -> Callable[[Callable], Callable[..., Any]]:
    """Turn `build(builder, *values)`, which emits LLVM IR, into a function of `given` for use inside Numba."""

    def declare(build: Callable) -> Callable[..., Any]:
        def define(typingctx, *args):
            def generate(context, builder, signature, values):
                made = build(builder, *values)
                return context.get_dummy_value() if made is None else made

            return result(*given), generate

        define.__name__, define.__doc__ = build.__name__, build.__doc__
        # Numba counts arguments in the signature; the builder stands where it expects its own context.
        define.__signature__ = inspect.signature(build)
        return intrinsic(define)

    return declare


@operation(_lanes)
def zeros(builder):
    """0 in every lane."""
    return _all(0.0)


@operation(_lanes)
def ones(builder):
    """1 in every lane."""
    return _all(1.0)


@operation(_lanes, _int, _int)
def load(builder, address, index):
    """LANES floats."""
    return _load(builder, address, index, _FLOATS)


@operation(types.void, _int, _int, _lanes)
def store(builder, address, index, x):
    """Put LANES floats."""
    _store(builder, x, address, index)


@operation(types.void, _int, _int, _float)
def store_float(builder, address, index, x):
    """Put one float."""
    _store(builder, x, address, index)


@operation(types.void, _int)
def ask_for(builder, address):
    """Have the cache line at an address brought into the second cache, without waiting for it."""
    prefetch(builder, address, nearest=False)


@operation(_lanes, _int, _int)
def load_bf16(builder, address, index):
    """LANES bfloat16 as floats: they are the upper half of a float's bits."""
    bits = builder.zext(_load(builder, address, index, _HALVES), _WORDS)
    return builder.bitcast(builder.shl(bits, _all(16, _WORDS)), _FLOATS)


@operation(types.void, _int, _int, _lanes)
def store_bf16(builder, address, index, x):
    """Put LANES floats as bfloat16, rounded to nearest, ties to even; NaN stays NaN."""
    bits = builder.bitcast(x, _WORDS)
    odd = builder.and_(builder.lshr(bits, _all(16, _WORDS)), _all(1, _WORDS))
    rounded = builder.lshr(builder.add(bits, builder.add(odd, _all(0x7FFF, _WORDS))), _all(16, _WORDS))
    kept = builder.select(builder.fcmp_unordered("uno", x, x), _all(0x7FC0, _WORDS), rounded)
    _store(builder, builder.trunc(kept, _HALVES), address, index)


@operation(_lanes, _lanes)
def cut(builder, x):
    """x without the lower half of its bits: a bfloat16, not rounded but cut short."""
    return builder.bitcast(builder.and_(builder.bitcast(x, _WORDS), _all(0xFFFF0000, _WORDS)), _FLOATS)


@operation(types.void, _int, _int, _lanes)
def store_upper(builder, address, index, x):
    """Put the upper halves of LANES floats, which are bfloat16."""
    upper = builder.lshr(builder.bitcast(x, _WORDS), _all(16, _WORDS))
    _store(builder, builder.trunc(upper, _HALVES), address, index)


@operation(_lanes, _int, _int)
def spread(builder, address, index):
    """One float in every lane."""
    nothing = ir.Constant(_FLOATS, ir.Undefined)
    alone = builder.load(_pointer(builder, address, index, ir.FloatType()), align=4)
    return builder.shuffle_vector(builder.insert_element(nothing, alone, ir.IntType(32)(0)), nothing, _all(0, _WORDS))


@operation(_lanes, _float)
def fill(builder, x):
    """x in every lane."""
    nothing = ir.Constant(_FLOATS, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(nothing, x, ir.IntType(32)(0)), nothing, _all(0, _WORDS))


@operation(_float, _lanes)
def total(builder, x):
    """The sum of all lanes, halves added to halves."""
    width = LANES
    while width > 1:
        width //= 2
        low, high = (
            ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(first, first + width))) for first in (0, width)
        )
        x = builder.fadd(builder.shuffle_vector(x, x, low), builder.shuffle_vector(x, x, high))
    return builder.extract_element(x, ir.IntType(32)(0))


@operation(_lanes, _lanes, _lanes)
def add(builder, x, y):
    """x + y"""
    return builder.fadd(x, y)


@operation(_lanes, _lanes, _lanes)
def sub(builder, x, y):
    """x - y"""
    return builder.fsub(x, y)


@operation(_lanes, _lanes, _lanes)
def div(builder, x, y):
    """x / y"""
    return builder.fdiv(x, y)


@operation(_lanes, _lanes, _lanes)
def greater(builder, x, y):
    """The greater of x and y, lane by lane; y where one is NaN."""
    return builder.select(builder.fcmp_ordered(">", x, y), x, y)


@operation(_lanes, _lanes, _lanes)
def magnitude(builder, x, y):
    """The greater of |x| and |y|, lane by lane; NaN where one is NaN."""
    x, y = (builder.and_(builder.bitcast(one, _WORDS), _all(0x7FFFFFFF, _WORDS)) for one in (x, y))
    # Without signs floats are in the order of their bits, and NaN is the greatest.
    return builder.bitcast(builder.select(builder.icmp_signed(">", x, y), x, y), _FLOATS)


@operation(_float, _lanes)
def greatest(builder, x):
    """The greatest lane of `magnitude`."""
    bits = builder.bitcast(x, _WORDS)
    shape = ir.FunctionType(ir.IntType(32), [_WORDS])
    name = f"llvm.vector.reduce.smax.v{LANES}i32"
    bits = builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [bits])
    return builder.bitcast(bits, ir.FloatType())


@operation(types.void, _int, _int, _lanes)
def store_whole(builder, address, index, x):
    """Put LANES floats, none beyond 32767, as int16, rounded to nearest, ties to even; what NaN becomes is unsaid."""
    # Adding 1.5 * 2^23 leaves no bits for a fraction, so the lowest bits are the number.
    shifted = builder.bitcast(builder.fadd(x, _all(1.5 * 2**23)), _WORDS)
    _store(builder, builder.trunc(shifted, _HALVES), address, index)


@operation(_lanes, _lanes, _lanes, _lanes, _lanes)
def where_greater(builder, x, y, then, otherwise):
    """`then` where x > y, `otherwise` elsewhere, lane by lane."""
    return builder.select(builder.fcmp_ordered(">", x, y), then, otherwise)


@operation(_lanes, _lanes)
def squared_relu(builder, x):
    """max(x, 0)^2; NaN stays NaN."""
    positive = builder.select(builder.fcmp_ordered("<", x, _all(0.0)), _all(0.0), x)
    return builder.fmul(positive, positive)


@operation(_lanes, _lanes, _lanes)
def mul(builder, x, y):
    """x y"""
    return builder.fmul(x, y)


@operation(_lanes, _lanes, _lanes, _lanes)
def muladd(builder, x, y, z):
    """x y + z, in one rounding where the machine can."""
    return _muladd(builder, x, y, z)


@operation(_lanes, _lanes)
def exp(builder, x):
    """e^x to 1e-7 or so, for x held within -87 and 88; NaN stays NaN."""
    return _exp(builder, x)


@operation(_lanes, _lanes)
def sigmoid(builder, x):
    """1 / (1 + e^-x)"""
    return _sigmoid(builder, x)


@operation(_lanes, _lanes)
def silu(builder, x):
    """x / (1 + e^-x)"""
    return builder.fmul(x, _sigmoid(builder, x))


@operation(_lanes, _lanes)
def tanh(builder, x):
    """(e^x - e^-x) / (e^x + e^-x) to 2e-7 of itself: near 0 by a polynomial, where 2 sigmoid(2x) - 1 would cancel."""
    far = _muladd(builder, _sigmoid(builder, builder.fadd(x, x)), _all(2.0), _all(-1.0))
    square = builder.fmul(x, x)
    near = _all(_TANH[0])
    for coefficient in _TANH[1:]:
        near = _muladd(builder, near, square, _all(coefficient))
    near = _muladd(builder, builder.fmul(near, square), x, x)
    small = builder.fcmp_ordered("<", square, _all(0.625**2))
    return builder.select(small, near, far)


@operation(types.void, _int, _int, _lanes, _lanes)
def begin(builder, parts, index, x, y):
    """parts[index : index + NARROW] = x y, lanes that lie NARROW apart added up."""
    _store(builder, _gathered(builder, x, y, None), parts, index)


@operation(types.void, _int, _int, _lanes, _lanes)
def gather(builder, parts, index, x, y):
    """parts[index : index + NARROW] += x y, lanes that lie NARROW apart added up."""
    _store(builder, _gathered(builder, x, y, _load(builder, parts, index, _NARROWS)), parts, index)


@operation(types.void, _int, _int, _int, _int)
def fold(builder, out, start, parts, index):
    """out[start + i] = the sum of parts[index + i NARROW :][: NARROW], for i < NARROW."""
    places = [builder.add(index, ir.IntType(64)(row * NARROW)) for row in range(NARROW)]
    vectors = [_load(builder, parts, place, _NARROWS) for place in places]
    segment = NARROW
    while len(vectors) > 1:
        vectors = [_halved(builder, x, y, segment) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        segment //= 2
    _store(builder, vectors[0], out, start)


def prefetch(builder, address, nearest: bool) -> None:
    """Have the cache line at an address brought into the nearest cache or the second one, without waiting for it."""
    line, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    shape = ir.FunctionType(ir.VoidType(), [line, word, word, word])
    ask = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0i8")
    # Read, not written; how near; data.
    builder.call(ask, [builder.inttoptr(address, line), word(0), word(3 if nearest else 2), word(1)])


def _exp(builder, x):
    """x = n ln 2 + rest with a whole n; e^rest is its Taylor sum, and n goes to the exponent."""
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
    return builder.fmul(result, builder.bitcast(builder.add(exponent, _all(127 << 23, _WORDS)), _FLOATS))


def _sigmoid(builder, x):
    return builder.fdiv(_all(1.0), builder.fadd(_all(1.0), _exp(builder, builder.fsub(_all(-0.0), x))))


def _all(value, kind=_FLOATS):
    return ir.Constant(kind, [value] * LANES)


def _width(kind):
    """Bytes of one element."""
    return 2 if kind == _HALVES else 4


def _pointer(builder, address, index, kind):
    """`index` elements behind `address`, as a pointer to `kind`."""
    offset = builder.mul(index, ir.IntType(64)(_width(kind)))
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _load(builder, address, index, kind):
    return builder.load(_pointer(builder, address, index, kind), align=_width(kind))


def _store(builder, value, address, index):
    builder.store(value, _pointer(builder, address, index, value.type), align=_width(value.type))


def _muladd(builder, x, y, z):
    shape = ir.FunctionType(x.type, [x.type] * 3)
    name = f"llvm.fmuladd.v{x.type.count}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, shape, name), [x, y, z])


def _gathered(builder, x, y, total):
    """total + x y (total None: 0), NARROW lanes wide."""
    for first in range(0, LANES, NARROW):
        x_part, y_part = (_shuffled(builder, whole, whole, range(first, first + NARROW)) for whole in (x, y))
        total = builder.fmul(x_part, y_part) if total is None else _muladd(builder, x_part, y_part, total)
    return total


def _halved(builder, x, y, segment):
    """The upper half of each segment of x and y added to its lower half; x's segments come first in the result."""
    low = [start + lane for start in range(0, 2 * NARROW, segment) for lane in range(segment // 2)]
    high = [lane + segment // 2 for lane in low]
    return builder.fadd(_shuffled(builder, x, y, low), _shuffled(builder, x, y, high))


def _shuffled(builder, x, y, picks):
    """NARROW lanes of x and y, taken for one vector."""
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), NARROW), list(picks)))
