"""The RWKV recurrences: contract, plain reference, chunked torch, Numba and Triton."""
