"""The CPU's kernels on processors that are not here: they become machine code, and call nothing that is not there."""

import os
import subprocess
import sys

import pytest

from rwkv_music_kernels.cpu.targets import MACHINE, PROCESSORS, assemble, strange

FUNCTION = """
target triple = "x86_64-unknown-linux-gnu"
target datalayout = ""
declare <32 x float> @llvm.fmuladd.v32f32(<32 x float>, <32 x float>, <32 x float>)
declare double @llvm.pow.f64(double, double)
define void @wide(ptr %x) {{
  %a = load <32 x float>, ptr %x, align 4
  %b = call <32 x float> @llvm.fmuladd.v32f32(<32 x float> %a, <32 x float> %a, <32 x float> %a)
  store <32 x float> %b, ptr %x, align 4
  ret void
}}
define double @narrow(double %x) {{
  %y = {call}
  ret double %y
}}
"""


def test_every_step_of_the_engine_is_machine_code_everywhere(tmp_path):
    # The programs' machine has all the vectors, tiles and atomics; the whole list is a command, for it takes a minute.
    done = subprocess.run(
        [sys.executable, "-m", "rwkv_music_kernels.cpu.targets", *MACHINE],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-1000:]
    found = [line.split()[:2] for line in done.stdout.splitlines()]
    assert {name.split(".")[0] for name, _ in found} == set(MACHINE)
    assert [processor for _, processor in found] == list(PROCESSORS) * (len(found) // len(PROCESSORS))


@pytest.mark.parametrize("processor", PROCESSORS)
def test_vectors_wider_than_any_register_need_no_help(processor):
    code = assemble(FUNCTION.format(call="fadd double %x, %x"), processor)
    assert "wide" in code
    assert strange(code) == []


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_call_into_the_unknown_is_told(processor):
    code = assemble(FUNCTION.format(call="call double @llvm.pow.f64(double %x, double %x)"), processor)
    assert [name.lstrip("_") for name in strange(code)] == ["pow"]
