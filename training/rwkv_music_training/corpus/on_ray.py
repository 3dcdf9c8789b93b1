"""Files prepared on a Ray cluster: the same functions as on one machine, so that the same corpus comes out, byte by byte.

Every machine must see the places and the folder of the corpus under the same names, and have rwkv-music installed.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rwkv_music_training.corpus.build import EVERY, Preparing, Say
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.parts import PartWriter
from rwkv_music_training.corpus.processes import Workers
from rwkv_music_training.corpus.reading import Taking, read_unit
from rwkv_music_training.corpus.recipe import Recipe
from rwkv_music_training.corpus.units import Unit

# Files that go to a machine together, and become a part.
FILES = 1024
# Shares of a core: together one, so that readers and preparers never wait for each other's.
READING, PREPARING = 0.2, 0.8


def on_ray(address: str = "") -> Preparing:
    """Prepare units on the cluster at an address; "" is one that is running here, or else one of this machine's cores.

    Raises CorpusError where Ray is not installed.
    """

    def preparing(units: Sequence[Unit], recipe: Recipe, folder: Path, say: Say) -> list[str]:
        ray = _connected(address)
        try:
            return _prepare(ray, units, recipe, folder.resolve(), say)
        finally:
            ray.shutdown()

    return preparing


def _connected(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise CorpusError("--ray needs Ray: pip install 'rwkv-music[ray]'") from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if not ray.is_initialized():
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        ray.init(
            address=address or None,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={} if address else paths,
        )
    return ray


def _prepare(ray: Any, units: Sequence[Unit], recipe: Recipe, folder: Path, say: Say) -> list[str]:
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    files = ray.data.from_items(list(units), override_num_blocks=max(1, len(units))).flat_map(
        _read, fn_kwargs={"taking": recipe.taking}, num_cpus=READING
    )
    done = files.map_batches(
        _Preparer,
        fn_constructor_args=(recipe, folder),
        batch_size=FILES,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=cores),
        num_cpus=PREPARING,
    )
    names: list[str] = []
    count = 0
    began = told = time.monotonic()
    for row in done.iter_rows():
        names.append(str(row["part"]))
        count += int(row["count"])
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            say(f"{count:,} pieces, {count / (told - began):,.0f} a second")
    return names


def _read(row: dict[str, Any], taking: Taking) -> Iterator[dict[str, Any]]:
    return ({"file": file} for file in read_unit(row["item"], taking))


class _Preparer:
    """Lives on a machine, with a process of its own that may be lost."""

    def __init__(self, recipe: Recipe, folder: Path):
        self._workers = Workers(recipe.preparation, 1, recipe.seconds)
        self._folder = folder

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Write a part of some files; its name tells it from all others, whoever writes it."""
        files = batch["file"].tolist()
        writer = PartWriter(self._folder, "{}-{}".format(*files[0].key))
        for outcomes in self._workers.prepare(files):
            writer.write(outcomes)
        writer.close()
        return {"part": ["{}-{}".format(*files[0].key)], "count": [len(files)]}
