"""Numbers that several threads share, and how a thread waits for another: the few words of LLVM IR a team needs."""

import sys
from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from rwkv_music_kernels.cpu.matvec import target

# What it makes is called with fewer arguments than are defined.
_intrinsic = cast("Callable[[Callable], Callable[..., Any]]", intrinsic)

_LONG = ir.IntType(64)


@_intrinsic
def take(typingctx, address, count):
    """Add to the int64 at `address`, for all threads at once; what it was before. Orders memory both ways."""

    def generate(context, builder, signature, values):
        place = builder.inttoptr(values[0], _LONG.as_pointer())
        return builder.atomic_rmw("add", place, values[1], "acq_rel")

    return types.int64(types.int64, types.int64), generate


@_intrinsic
def look(typingctx, address):
    """The int64 at `address`, and all that was written before it got there."""

    def generate(context, builder, signature, values):
        return builder.load_atomic(builder.inttoptr(values[0], _LONG.as_pointer()), "acquire", 8)

    return types.int64(types.int64), generate


@_intrinsic
def rest(typingctx):
    """A moment in which this core leaves its units to others."""

    def generate(context, builder, signature, values):
        platform = target()[0]
        nothing = ir.VoidType()
        if platform.startswith(("x86_64", "i386", "i686")):
            pause = cgutils.get_or_insert_function(builder.module, ir.FunctionType(nothing, []), "llvm.x86.sse2.pause")
            builder.call(pause, [])
        elif platform.startswith(("aarch64", "arm64")):
            hint = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(nothing, [ir.IntType(32)]), "llvm.aarch64.hint"
            )
            builder.call(hint, [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), generate


@_intrinsic
def give_way(typingctx):
    """Let another thread have this core, if one waits for it."""

    def generate(context, builder, signature, values):
        name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
        system = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), name)
        builder.call(system, [])
        return context.get_dummy_value()

    return types.void(), generate
