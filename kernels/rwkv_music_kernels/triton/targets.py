"""Every kernel compiled for GPUs that are not here: what spills out of registers or wants too much shared memory is told.

    python -m rwkv_music_kernels.triton.targets [module ...]

A module of kernels offers `compile_cases()`: (kernel, signature, constants, warps, label) for each form a model meets.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

# Bytes of shared memory that one block may have, by architecture (CUDA C programming guide; CDNA 3 ISA guide).
SHARED = MappingProxyType({80: 163 << 10, 90: 227 << 10, 100: 227 << 10, 120: 99 << 10, "gfx942": 64 << 10})
MODULES = ("wkv4", "wkv6", "wkv7", "chunks", "wkv6_chunk", "wkv7_chunk", "fused", "decode", "sample")
# Each process holds a compiler of some hundred megabytes.
_PROCESSES = 4


@dataclass(frozen=True)
class Compiled:
    """What one kernel takes on one architecture."""

    label: str
    architecture: str
    # Bytes of shared memory of a block; bytes (NVIDIA) or vector registers (AMD) that spilled.
    shared: int
    spilled: int
    limit: int

    @property
    def fits(self) -> bool:
        return self.spilled == 0 and self.shared <= self.limit


def compile_all(modules: Iterable[str] = MODULES) -> Iterator[Compiled]:
    """Every case of the modules for every architecture of SHARED, dealt among the processors."""
    modules = tuple(modules)
    with ProcessPoolExecutor(min(_PROCESSES, os.cpu_count() or 1), get_context("spawn")) as processes:
        # Each process takes every n-th case, so that the large kernels are spread.
        parts = range(8 * len(SHARED))
        for found in processes.map(_compile_part, [modules] * len(parts), parts):
            yield from found


def cases(modules: Iterable[str] = MODULES) -> list[tuple[Any, dict[str, Any], dict[str, Any], int, str]]:
    """What the modules offer. Raises ImportError where one is not there, ValueError where it offers nothing."""
    found = []
    for name in modules:
        own = list(import_module(f"rwkv_music_kernels.triton.{name}").compile_cases())
        if not own:
            raise ValueError(f"the kernels of {name} offer nothing to compile: compile_cases() must yield each form")
        found += own
    return found


def compile_case(case: tuple[Any, dict[str, Any], dict[str, Any], int, str], architecture: int | str) -> Compiled:
    """One kernel for one architecture: an NVIDIA compute capability as a number, or an AMD chip by name."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, signature, constants, warps, label = case
    amd = isinstance(architecture, str)
    target = GPUTarget("hip", architecture, 64) if amd else GPUTarget("cuda", architecture, 32)
    whole = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    made = compile_kernel(ASTSource(kernel, whole, constants), target=target, options={"num_warps": warps})
    if amd:
        spilled = _spilled_on_amd(made.asm["amdgcn"])
    else:
        spilled = _spilled_on_nvidia(made.asm["ptx"], made.asm["cubin"], architecture)
    return Compiled(label, str(architecture), made.metadata.shared, spilled, SHARED[architecture])


def _compile_part(modules: tuple[str, ...], part: int) -> list[Compiled]:
    architecture = list(SHARED)[part % len(SHARED)]
    return [compile_case(case, architecture) for case in cases(modules)[part // len(SHARED) :: 8]]


def _spilled_on_amd(assembly: str) -> int:
    # Scalar registers spill into vector registers, which costs no memory.
    counts = re.findall(r"\.vgpr_spill_count:\s*(\d+)", assembly)
    assert counts, "the compiler no longer tells how many registers spilled"
    return sum(map(int, counts))


def _spilled_on_nvidia(assembly: str, binary: bytes, architecture: int | str) -> int:
    """Bytes stored and loaded for want of registers."""
    from triton import knobs

    ptxas = knobs.nvidia.ptxas_blackwell if int(architecture) >= 100 else knobs.nvidia.ptxas
    name = re.search(r"\.target\s+(sm_\w+)", assembly)
    assert name is not None
    with tempfile.TemporaryDirectory() as folder:
        made, source = Path(folder) / "kernel.cubin", Path(folder) / "kernel.ptx"
        made.write_bytes(binary)
        stack = re.findall(r"STACK:(\d+)", _told([knobs.nvidia.cuobjdump.path, "-res-usage", str(made)]))
        assert stack, "cuobjdump no longer tells how much stack a kernel uses"
        # What spills lies on the stack; only where there is one, the assembler is asked what it is for.
        if not any(map(int, stack)):
            return 0
        source.write_text(assembly)
        told = _told([ptxas.path, "-v", f"--gpu-name={name[1]}", str(source), "-o", str(made)])
    counts = re.findall(r"(\d+) bytes spill (?:stores|loads)", told)
    assert counts, "the assembler no longer tells how much it spilled"
    return sum(map(int, counts))


def _told(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def main() -> int:
    """Print a line for each; 1 when one does not fit."""
    fits = True
    for found in compile_all(sys.argv[1:] or MODULES):
        fits = fits and found.fits
        sign = "  " if found.fits else "!!"
        print(f"{sign} {found.architecture:>7} {found.label:40} shared {found.shared:6} spilled {found.spilled}")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
