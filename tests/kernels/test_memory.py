"""Memory for weights: tensors of any size and type, none over another, alive as long as they are needed."""

import gc
import mmap
from ctypes import c_float, pointer

import numpy as np
import torch

from rwkv_music_kernels.cpu import memory
from rwkv_music_kernels.cpu.memory import Store

SHAPES = [(3, 5), (1,), (64, 33), (1000, 32), (0,), (7, 2, 4)]
DTYPES = [torch.float32, torch.bfloat16, torch.int8]


def test_tensors_keep_what_is_written_beside_each_other_and_after_their_store(monkeypatch):
    monkeypatch.setattr(memory, "_CHUNK", 1 << 16)
    store = Store()
    made = [store.empty(*shape, dtype=dtype).fill_(n) for n, shape in enumerate(SHAPES * 4) for dtype in DTYPES]
    del store
    gc.collect()
    for n, tensor in enumerate(made):
        assert tuple(tensor.shape) == (SHAPES * 4)[n // 3] and tensor.dtype is DTYPES[n % 3]
        assert tensor.data_ptr() % 64 == 0 and tensor.is_contiguous() and (tensor == n // 3).all()


def test_an_address_is_enough_as_long_as_the_store_lives(monkeypatch):
    monkeypatch.setattr(memory, "_CHUNK", 1 << 16)
    store = Store()
    addresses = [store.empty(100, 32).fill_(n).data_ptr() for n in range(20)]
    gc.collect()
    for n, address in enumerate(addresses):
        assert np.array_equal(np.ctypeslib.as_array(pointer(c_float.from_address(address)), (3200,)), [n] * 3200)


def test_a_system_that_takes_no_hint_has_memory_all_the_same(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert Store().empty(4, 4, dtype=torch.int8).fill_(3).sum() == 48
