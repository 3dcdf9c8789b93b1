"""The fastest backend that works is taken, and why the others were not is told."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from rwkv_music_kernels import choose
from rwkv_music_kernels.choose import backends, choose_kernels
from rwkv_music_kernels.contract import KernelError
from rwkv_music_kernels.cpu import cache


def test_the_cpu_takes_numba():
    assert choose_kernels("cpu").name == "cpu"
    assert choose_kernels(torch.device("cpu")).name == "cpu"


@pytest.mark.parametrize("name", ["cpu", "torch", "reference"])
def test_a_backend_is_had_by_its_name(name):
    assert choose_kernels("cpu", name).name == name


def test_a_gpu_takes_triton_and_says_why_not_numba():
    pytest.importorskip("triton", reason="Triton is for Linux; pip install triton")
    assert choose_kernels("cuda").name == "triton"
    numba = {backend.name: backend for backend in backends("cuda")}["cpu"]
    assert not numba.usable and "not on cuda" in numba.reason
    with pytest.raises(KernelError, match="'cpu' cannot be used on cuda"):
        choose_kernels("cuda", "cpu")


def test_a_gpu_without_triton_takes_plain_torch_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING):
        assert choose_kernels("cuda").name == "torch"
    assert "pip install 'rwkv-music[gpu]'" in caplog.text
    with pytest.raises(KernelError, match="not on cpu"):
        choose_kernels("cpu", "triton")


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(KernelError, match="no kernels called 'fast'; choose one of triton, cpu, torch, reference, fla"):
        choose_kernels("cpu", "fast")


def test_without_numba_the_chunked_form_is_taken_and_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    with caplog.at_level(logging.WARNING):
        assert choose_kernels("cpu").name == "torch"
    assert "pip install numba" in caplog.text
    assert [backend.name for backend in backends("cpu") if backend.usable] == ["torch", "reference"]
    with pytest.raises(KernelError, match="pip install numba"):
        choose_kernels("cpu", "cpu")


def test_asking_what_there_is_loads_no_kernels():
    code = "import sys; from rwkv_music_kernels import choose; choose.backends('cuda'); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_cache_folder_is_made_only_where_numba_would_find_none(monkeypatch):
    monkeypatch.setattr(cache, "reload_config", lambda: None)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    cache.settle_cache()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(cache, "_writable", lambda folder: False)
    cache.settle_cache()
    folder = os.environ["NUMBA_CACHE_DIR"]
    assert os.stat(folder).st_mode & 0o077 == 0
    cache.settle_cache()
    assert os.environ["NUMBA_CACHE_DIR"] == folder
