"""The recurrences on the CPU: Numba over explicit vectors, one head a task, threads from a pool of our own."""
