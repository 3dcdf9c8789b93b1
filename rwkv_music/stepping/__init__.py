"""RWKV on the CPU at the speed of its memory: every version as a program of a dozen operations a layer."""
