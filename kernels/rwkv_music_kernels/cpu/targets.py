"""Every kernel as machine code for processors that are not here: what none of their libraries would hold is told.

    python -m rwkv_music_kernels.cpu.targets [module ...]

The kernels say their vectors outright and wider than any register, so LLVM must split them for each processor. What it
cannot say in instructions becomes a call, and a call to a function that exists nowhere shows only when it is loaded.
"""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

import llvmlite.binding as llvm

from rwkv_music_kernels.cpu.kernel import Kernel, is_inner

# Triple and processor: the oldest x86, AVX2, AVX-512, any 64-bit ARM, Apple's, and a server's with SVE.
PROCESSORS = MappingProxyType(
    {
        "x86-64": ("x86_64-unknown-linux-gnu", "x86-64"),
        "AVX2": ("x86_64-unknown-linux-gnu", "x86-64-v3"),
        "AVX-512": ("x86_64-unknown-linux-gnu", "x86-64-v4"),
        "ARM64": ("aarch64-unknown-linux-gnu", "generic"),
        "Apple": ("arm64-apple-darwin", "apple-m1"),
        "SVE": ("aarch64-unknown-linux-gnu", "neoverse-v1"),
    }
)
MACHINE = ("machine", "rowwise", "product", "matvec", "heads")
MODULES = ("wkv4", "wkv6", "wkv7", "draw", *MACHINE)
# Numba's own, the C library's, and its mathematics.
_KNOWN = re.compile(r"_?(NRT_|numba_|memcpy|memset|memmove|sched_yield$|exp$|log$|sqrt$|Py|_Py|printf|puts)\w*")
_COUNTING = re.compile(r"^define linkonce_odr ([^\n]*@NRT_\w+\([^\n]*\))[^\n]*\{$.*?^\}$", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"^\s+(?:bl|b|callq?|jmp)\s+([A-Za-z_][\w.$]*)(?:@PLT)?\s*$", re.MULTILINE)
_FRAME = re.compile(r"\"(target-cpu|target-features|tune-cpu)\"=\"[^\"]*\"")
_PAUSES = {"x86_64": "call void @llvm.x86.sse2.pause()", "aarch64": "call void @llvm.aarch64.hint(i32 1)"}


@dataclass(frozen=True)
class Compiled:
    """One kernel for one processor."""

    kernel: str
    processor: str
    # Lines of machine code, and functions it calls that are not known to exist there.
    lines: int
    strange: tuple[str, ...]


def compile_all(modules: Iterable[str] = MODULES) -> Iterator[Compiled]:
    """Every kernel of the modules for every one of PROCESSORS. Numba must not find them in its cache."""
    for module in modules:
        for name, code in llvm_of(module):
            for processor in PROCESSORS:
                machine_code = assemble(code, processor)
                strangers = tuple(strange(machine_code))
                yield Compiled(f"{module}.{name}", processor, machine_code.count("\n"), strangers)


def llvm_of(module: str) -> Iterator[tuple[str, str]]:
    """The name of every kernel of the module, and what Numba has LLVM make machine code of for it.

    Kernels are those that programs hold, and functions called from Python, whose names do not begin with a line.
    """
    whole = f"rwkv_music_kernels.cpu.{module}"
    for name, found in vars(import_module(whole)).items():
        if isinstance(found, Kernel):
            code = found.compiled.inspect_llvm()
        elif hasattr(found, "py_func") and name[0] != "_" and found.__module__ == whole and not is_inner(found):
            signature = arguments(module, found)
            found.compile(signature)
            code = found.inspect_llvm(signature)
        else:
            continue
        if not code:
            raise RuntimeError(f"{name} came from Numba's cache: give NUMBA_CACHE_DIR an empty folder")
        # Numba's counting of references was made for this processor before, and is there on the others in its own form.
        yield name, _COUNTING.sub(r"declare \1", code)


def arguments(module: str, kernel: Callable[..., Any]) -> tuple[Any, ...]:
    """Numba's types of the arguments that `kernel` is called with."""
    from numba import types

    names = kernel.py_func.__code__.co_varnames[: kernel.py_func.__code__.co_argcount]  # pyright: ignore
    many = {"wkv6": 4, "wkv7": 6}.get(module, 0)
    known = {"inputs": types.UniTuple(types.int64, many), "gradients": types.UniTuple(types.int64, many)}
    known |= {"keep": types.boolean, "top_p_first": types.boolean, "uniform": types.float64}
    known |= {"program": types.int64[:, ::1], "counters": types.int64[:, ::1], "call": types.int64[::1]}
    if module == "draw":
        known |= dict.fromkeys(("counts", "biases", "settings", "x", "w"), types.float64[::1])
        known |= {
            "logits": types.float32[::1],
            "biased": types.int64[::1],
            "ids": types.int32[::1],
            "places": types.int32[::1],
        }
    return tuple(known.get(name, types.int64) for name in names)


def assemble(code: str, processor: str) -> str:
    """Machine code for a processor, as text. Raises RuntimeError for what is no LLVM."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, name = PROCESSORS[processor]
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=name, opt=3, reloc="pic", codemodel="small")
    code = _FRAME.sub("", code)
    if not triple.startswith("x86_64"):
        code = code.replace(_PAUSES["x86_64"], _PAUSES["aarch64"])
        code = code.replace("declare void @llvm.x86.sse2.pause()", "declare void @llvm.aarch64.hint(i32)")
    code = re.sub(r'^target triple = ".*"$', f'target triple = "{triple}"', code, flags=re.MULTILINE)
    code = re.sub(
        r'^target datalayout = ".*"$', f'target datalayout = "{machine.target_data}"', code, flags=re.MULTILINE
    )
    module = llvm.parse_assembly(code)
    module.verify()
    return machine.emit_assembly(module)


def strange(machine_code: str) -> list[str]:
    """Functions that are called, not defined here, and not known to exist."""
    defined = set(re.findall(r"^([\w.$@]+):", machine_code, flags=re.MULTILINE))
    called = set(
        re.findall(r"^\s+(?:bl|b|callq?|jmp)\s+([A-Za-z_][\w.$]*)(?:@PLT)?\s*$", machine_code, flags=re.MULTILINE)
    )
    return sorted(name for name in called - defined if not _KNOWN.match(name) and not name.startswith("L"))


def main() -> int:
    """Print a line for each kernel and processor; 1 where something is strange."""
    bad = 0
    for found in compile_all(sys.argv[1:] or MODULES):
        bad += bool(found.strange)
        marks = f"!! calls {', '.join(found.strange)}" if found.strange else "ok"
        print(f"{found.kernel:24} {found.processor:8} {found.lines:7} lines  {marks}")
    return min(bad, 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        # Code from the cache has no LLVM to look at any more.
        os.environ["NUMBA_CACHE_DIR"] = folder
        sys.exit(main())
