"""The Fréchet Music Distance (Retkowski and others, 2024) between two sets of pieces, where its package is installed.

It compares the CLaMP 2 features of both; the features' weights are fetched from the hub at the first use.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from rwkv_music.errors import UserError
from rwkv_music_tokenizers.performance import Performance
from rwkv_music_tokenizers.performance_writer import write_performance


class DistanceError(UserError):
    """The distance cannot be had; says what is missing."""


def music_distance(reference: Sequence[Performance], own: Sequence[Performance]) -> float:
    """The distance of pieces of a model from real ones; 0 is the same distribution. Raises DistanceError."""
    try:
        from frechet_music_distance import FrechetMusicDistance  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DistanceError(
            f"--fmd needs frechet-music-distance ({error}): pip install 'rwkv-music[distance]'"
        ) from None
    if min(len(reference), len(own)) < 2:
        raise DistanceError("--fmd compares two sets of at least two pieces")
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("reference", "own")]
        for place, pieces in zip(places, (reference, own), strict=True):
            place.mkdir()
            for number, piece in enumerate(pieces):
                (place / f"{number}.mid").write_bytes(write_performance(piece))
        try:
            metric = FrechetMusicDistance(feature_extractor="clamp2", gaussian_estimator="mle", verbose=False)
            return float(metric.score(*places))
        except OSError as error:
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise DistanceError(f"--fmd: the weights of CLaMP 2 cannot be had ({told:.120})") from None
