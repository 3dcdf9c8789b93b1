"""Kernels that machine code calls by their addresses: one is compiled when a program first holds it, and no other is.

Numba takes what a function calls into it and makes machine code of all that again, at every level of calls. A call by
address is where that ends, and it lets a step of a program say what does it.
"""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

from llvmlite import ir
from numba import cfunc, njit, types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic

_LONG = ir.IntType(64)


def inner(function: Callable) -> Callable[..., Any]:
    """A function for use inside kernels alone; it raises nothing."""
    options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(**options)(function)  # pyright: ignore[reportCallIssue, reportArgumentType]


def is_inner(function: Any) -> bool:
    """Whether Numba's function is one for use inside kernels alone."""
    return "no_cpython_wrapper" in function.targetoptions


class Kernel:
    """A function of whole numbers, addresses among them, that returns nothing and raises nothing."""

    def __init__(self, function: Callable[..., None]):
        self.function = function

    @cached_property
    def compiled(self) -> CFunc:
        """Its machine code, from disk if it has been made before."""
        arguments = [types.int64] * self.function.__code__.co_argcount
        return cfunc(types.void(*arguments), cache=True, error_model="numpy")(self.function)

    @property
    def address(self) -> int:
        """What `invoke` calls."""
        found = self.compiled.address
        assert found is not None
        return found


def invoke(count: int) -> Callable[..., Any]:
    """A function for use inside Numba that calls the kernel at an address with `count` whole numbers."""

    def define(typingctx, *given):
        def generate(context, builder, signature, values):
            shape = ir.FunctionType(ir.VoidType(), [_LONG] * count)
            builder.call(builder.inttoptr(values[0], shape.as_pointer()), values[1:])
            return context.get_dummy_value()

        return types.void(*[types.int64] * (count + 1)), generate

    names = ["typingctx", "address", *(f"argument{n}" for n in range(count))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    # Numba counts arguments in the signature.
    define.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # pyright: ignore
    return intrinsic(define)


def _numbers(typingctx, address):
    """The int64s that lie at an address, to be indexed."""

    def generate(context, builder, signature, values):
        return builder.inttoptr(values[0], _LONG.as_pointer())

    return types.CPointer(types.int64)(types.int64), generate


numbers: Callable[..., Any] = intrinsic(_numbers)
