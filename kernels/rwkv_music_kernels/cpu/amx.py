"""Tiles of Intel's AMX in LLVM's words, and the same in memory for processors that have none.

A tile is ROWS rows of a line of the cache: of bfloat16 in pairs, or of float32 sums. Numba's cache watches the file of a
kernel, not this one: after a change here, touch `tiles`.
"""

import ctypes
from functools import cache

from llvmlite import ir
from numba.core import cgutils

from rwkv_music_kernels.cpu.matvec import target
from rwkv_music_kernels.cpu.scratch import LINE

ROWS = 16
_TILES = 8

# How Linux is asked for the registers: arch_prctl, ARCH_REQ_XCOMP_PERM, and the number of the tiles' data.
_ARCH_PRCTL, _ASK, _TILE_DATA = 158, 0x1023, 18

_BYTE, _LONG = ir.IntType(8), ir.IntType(64)
_WORDS, _FLOATS = (ir.VectorType(kind, ROWS) for kind in (ir.IntType(32), ir.FloatType()))


@cache
def has_tiles() -> bool:
    """Whether this processor has tiles that take bfloat16, and the system lends them."""
    platform, features = target()
    if not platform.startswith("x86_64") or "linux" not in platform or not {"amx-tile", "amx-bf16"} <= features:
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK, _TILE_DATA) == 0


class Amx:
    """The tiles of the processor, by their numbers."""

    def __init__(self, builder):
        self._builder = builder

    def begin(self, told) -> None:
        """Set the tiles up as the line at an address tells."""
        _call(self._builder, "ldtilecfg", _pointer(self._builder, told))

    def end(self) -> None:
        """Give the tiles back."""
        _call(self._builder, "tilerelease")

    def clear(self, tile) -> None:
        """Fill a tile with zeros."""
        _call(self._builder, "tilezero", _BYTE(tile))

    def load(self, tile, address) -> None:
        """Fill a tile from one line after the other."""
        _call(self._builder, "tileloadd64", _BYTE(tile), _pointer(self._builder, address), _LONG(LINE))

    def multiply(self, total, rows, weights) -> None:
        """Add the products of two tiles of bfloat16 to one of float32."""
        _call(self._builder, "tdpbf16ps", _BYTE(total), _BYTE(rows), _BYTE(weights))

    def store(self, tile, address, pitch: int) -> None:
        """Put the rows of a tile, `pitch` bytes apart."""
        _call(self._builder, "tilestored64", _BYTE(tile), _pointer(self._builder, address), _LONG(pitch))


class PlainTiles(Amx):
    """The same in memory and in vectors, slowly."""

    def __init__(self, builder):
        super().__init__(builder)
        self._tiles = [cgutils.alloca_once(builder, ir.ArrayType(_WORDS, ROWS)) for _ in range(_TILES)]
        self._halves = [cgutils.alloca_once(builder, _FLOATS) for _ in range(2)]

    def begin(self, told) -> None:
        """Nothing is to be set up."""

    def end(self) -> None:
        """Nothing is to be given back."""

    def clear(self, tile) -> None:
        self._builder.store(ir.Constant(ir.ArrayType(_WORDS, ROWS), None), self._tiles[tile])

    def load(self, tile, address) -> None:
        with cgutils.for_range(self._builder, _LONG(ROWS)) as row:
            words = self._builder.load(_line(self._builder, address, row.index, LINE), align=4)
            self._builder.store(words, self._row(tile, row.index), align=4)

    def multiply(self, total, rows, weights) -> None:
        builder, nothing = self._builder, ir.Constant(_FLOATS, None)
        with cgutils.for_range(builder, _LONG(ROWS)) as row:
            for sums in self._halves:
                builder.store(nothing, sums)
            # The first and the second of all pairs are added up by themselves, as the processor does.
            with cgutils.for_range(builder, _LONG(ROWS)) as pair:
                words = builder.load(self._row(rows, row.index), align=4)
                own = _apart(builder, _spread(builder, builder.extract_element(words, pair.index)))
                theirs = _apart(builder, builder.load(self._row(weights, pair.index), align=4))
                for sums, x, weight in zip(self._halves, own, theirs, strict=True):
                    builder.store(builder.fadd(builder.load(sums), builder.fmul(x, weight)), sums)
            place = self._row(total, row.index)
            so_far = builder.bitcast(builder.load(place, align=4), _FLOATS)
            more = builder.fadd(*(builder.load(sums) for sums in self._halves))
            builder.store(builder.bitcast(builder.fadd(so_far, more), _WORDS), place, align=4)

    def store(self, tile, address, pitch: int) -> None:
        with cgutils.for_range(self._builder, _LONG(ROWS)) as row:
            words = self._builder.load(self._row(tile, row.index), align=4)
            self._builder.store(words, _line(self._builder, address, row.index, pitch), align=4)

    def _row(self, tile, n):
        return self._builder.gep(self._tiles[tile], [_LONG(0), n])


def tiles_of(builder) -> Amx:
    """Those of the processor, or their twins."""
    return Amx(builder) if has_tiles() else PlainTiles(builder)


def _spread(builder, word):
    nothing = ir.Constant(_WORDS, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(nothing, word, _LONG(0)), nothing, ir.Constant(_WORDS, [0] * ROWS)
    )


def _apart(builder, pairs):
    """The first bfloat16 of each word as floats, and the second."""
    first = builder.shl(pairs, ir.Constant(_WORDS, [16] * ROWS))
    second = builder.and_(pairs, ir.Constant(_WORDS, [0xFFFF0000] * ROWS))
    return [builder.bitcast(half, _FLOATS) for half in (first, second)]


def _line(builder, address, n, pitch):
    """The n-th line behind an address."""
    return builder.inttoptr(builder.add(address, builder.mul(n, _LONG(pitch))), _WORDS.as_pointer())


def _pointer(builder, address):
    return builder.inttoptr(address, _BYTE.as_pointer())


def _call(builder, name, *values):
    shape = ir.FunctionType(ir.VoidType(), [value.type for value in values])
    builder.call(cgutils.get_or_insert_function(builder.module, shape, f"llvm.x86.{name}"), values)
