"""The recurrences on GPUs: Triton kernels, forward and backward, as operators that torch.compile knows."""
