"""The RWKV recurrences: contract, plain reference, chunked torch and Numba."""
