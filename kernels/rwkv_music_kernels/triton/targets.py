"""Every kernel compiled for GPUs that are not here: what spills out of registers or wants too much shared memory is told.

python -m rwkv_music_kernels.triton.targets
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rwkv_music_kernels.triton import wkv4, wkv6, wkv7

# Bytes of shared memory that one block may have, by architecture (CUDA C programming guide; CDNA 3 ISA guide).
SHARED = MappingProxyType({80: 163 << 10, 90: 227 << 10, 100: 227 << 10, 120: 99 << 10, "gfx942": 64 << 10})
MODULES = (wkv4, wkv6, wkv7)


@dataclass(frozen=True)
class Compiled:
    """What one kernel takes on one architecture."""

    label: str
    architecture: str
    # Bytes of shared memory of a block, and registers (bytes on NVIDIA, registers on AMD) that spilled.
    shared: int
    spilled: int
    limit: int

    @property
    def fits(self) -> bool:
        return self.spilled == 0 and self.shared <= self.limit


def compile_all() -> Iterator[Compiled]:
    """Every case of every module for every architecture of SHARED."""
    from triton import compile as compile_kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    for architecture, limit in SHARED.items():
        amd = isinstance(architecture, str)
        target = GPUTarget("hip", architecture, 64) if amd else GPUTarget("cuda", architecture, 32)
        for module in MODULES:
            for kernel, signature, constants, warps, label in module.compile_cases():
                whole = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
                made = compile_kernel(ASTSource(kernel, whole, constants), target=target, options={"num_warps": warps})
                spilled = _spilled_on_amd(made) if amd else _spilled_on_nvidia(made, architecture)
                yield Compiled(label, str(architecture), made.metadata.shared, spilled, limit)


def _spilled_on_amd(made: Any) -> int:
    # Scalar registers spill into vector registers, which costs no memory.
    counts = re.findall(r"\.vgpr_spill_count:\s*(\d+)", made.asm["amdgcn"])
    assert counts, "the compiler no longer tells how many registers spilled"
    return sum(map(int, counts))


def _spilled_on_nvidia(made: Any, architecture: int | str) -> int:
    """Bytes that the assembler stored and loaded for want of registers."""
    from triton import knobs

    name = re.search(r"\.target\s+(sm_\w+)", made.asm["ptx"])
    assert name is not None
    ptxas = knobs.nvidia.ptxas_blackwell if int(architecture) >= 100 else knobs.nvidia.ptxas
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(made.asm["ptx"])
        command = [ptxas.path, "-v", f"--gpu-name={name[1]}", str(source), "-o", str(source.with_suffix(".cubin"))]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    counts = re.findall(r"(\d+) bytes spill (?:stores|loads)", told)
    assert counts, "the assembler no longer tells how much it spilled"
    return sum(map(int, counts))


def main() -> int:
    """Print a line for each; 1 when one does not fit."""
    fits = True
    for found in compile_all():
        fits = fits and found.fits
        sign = "  " if found.fits else "!!"
        print(f"{sign} {found.architecture:>7} {found.label:28} shared {found.shared:6} spilled {found.spilled}")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
