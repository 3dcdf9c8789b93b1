"""Weights on disk: reading and writing checkpoints."""
