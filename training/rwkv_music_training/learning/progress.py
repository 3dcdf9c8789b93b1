"""How far a run has come: a few numbers that are saved with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Counters of a run over all its resumes."""

    # Optimiser steps tried, and those left out because the gradient was not finite.
    step: int = 0
    skipped: int = 0
    # Positions that counted in the loss.
    tokens: int = 0
    # Seconds trained.
    seconds: float = 0.0
    # The best validation reading in nats a position, its step, and the readings since.
    best: float = float("inf")
    best_step: int = 0
    readings_since_best: int = 0
