"""A corpus made of folders and archives: every file prepared by itself, then duplicates found, splits drawn, shards written.

Only what is known of the documents is held in memory; ids and fingerprints are on disk from the beginning.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rwkv_music.files import refuse_replacing, whole_folder
from rwkv_music_training.corpus.clusters import Sketches, near_clusters
from rwkv_music_training.corpus.codes import find_code
from rwkv_music_training.corpus.corpus import Corpus
from rwkv_music_training.corpus.errors import CorpusError
from rwkv_music_training.corpus.items import REASONS, TOLD
from rwkv_music_training.corpus.parts import DIGESTS, ROWS_A_PART, Parts, PartWriter
from rwkv_music_training.corpus.processes import Workers
from rwkv_music_training.corpus.reading import read_unit
from rwkv_music_training.corpus.recipe import Recipe
from rwkv_music_training.corpus.shards import (
    MADE,
    META,
    REJECTS,
    Shard,
    close_shard,
    cut,
    heading,
    paths_of,
    write_manifest,
    write_table,
)
from rwkv_music_training.corpus.sharing import SPLITS, Shared, given_order, ladder, share
from rwkv_music_training.corpus.units import Unit, find_units

Say = Callable[[str], None]
# Seconds between two lines of progress.
EVERY = 5.0


class Preparing(Protocol):
    """What prepares units: it writes parts into a folder, and returns their names."""

    def __call__(self, units: Sequence[Unit], recipe: Recipe, folder: Path, say: Say) -> list[str]: ...


def here(processes: int) -> Preparing:
    """Prepare units in so many processes on this machine."""

    def preparing(units: Sequence[Unit], recipe: Recipe, folder: Path, say: Say) -> list[str]:
        files = (file for unit in units for file in read_unit(unit, recipe.taking))
        began = told = time.monotonic()
        count = 0
        names = ["0"]
        writer = PartWriter(folder, names[0])
        with Workers(recipe.preparation, processes, recipe.seconds) as workers:
            for outcomes in workers.prepare(files):
                if writer.count >= ROWS_A_PART:
                    writer.close()
                    names.append(str(len(names)))
                    writer = PartWriter(folder, names[-1])
                writer.write(outcomes)
                count += len(outcomes)
                if time.monotonic() - told > EVERY:
                    told = time.monotonic()
                    say(f"{count:,} pieces, {count / (told - began):,.0f} a second")
        writer.close()
        return names

    return preparing


def build(
    places: Sequence[Path],
    out: Path,
    recipe: Recipe,
    preparing: Preparing,
    *,
    force: bool = False,
    say: Say = lambda line: None,
) -> Corpus:
    """Make a corpus in the folder `out`, which is whole or untouched. Raises CorpusError, FileError."""
    refuse_replacing(out, *MADE, places, force=force)
    try:
        with whole_folder(out) as aside:
            folder = aside / "parts"
            folder.mkdir()
            names = preparing(list(find_units(places)), recipe, folder, say)
            _finish(Parts(folder, names, find_code(recipe.preparation.code).dtype), folder, aside, recipe, say)
            shutil.rmtree(folder)
            Corpus.open(aside)
    except OSError as error:
        raise CorpusError(f"{error.filename or out}: {error.strerror or error}") from error
    return Corpus.open(out)


def _finish(parts: Parts, folder: Path, aside: Path, recipe: Recipe, say: Say) -> None:
    """Find duplicates, draw splits, write shards, tables and manifest."""
    say(f"{len(parts):,} documents; looking for the same and the nearly same")
    shared = _share(parts, folder, recipe)
    rows = {split: np.flatnonzero(shared.split == place) for place, split in enumerate(SPLITS)}
    splits = {split: _write_split(parts, aside, split, numbers) for split, numbers in rows.items()}
    order = np.concatenate(list(rows.values()))
    if not len(order):
        raise CorpusError(f"there is nothing to learn from: {_why(parts, shared)}")
    _write_meta(parts, aside, shared, order)
    counts = _write_rejects(parts, aside, shared)
    manifest = {
        **heading(find_code(recipe.preparation.code)),
        "recipe": recipe.plain(),
        "found": len(parts) + len(parts.left),
        "kept": len(order),
        "left_out": counts,
        "sources": _sources(parts, order),
        "splits": {split: [vars(shard) for shard in shards] for split, shards in splits.items()},
    }
    write_manifest(aside, manifest)


def _share(parts: Parts, folder: Path, recipe: Recipe) -> Shared:
    """What becomes of every document."""
    given = parts.texts("split")
    digests = [parts.digests(name) for name in DIGESTS]
    left_out = ladder(digests, given_order(given, recipe.sharing))
    chosen = np.array([number for number in range(len(parts)) if number not in left_out], dtype=np.int64)
    shingles, bounds = parts.merge_shingles(folder / "all.shingles")
    sketches = Sketches(parts.merge_bands(folder / "all.bands"), shingles, bounds, chosen)
    same, kin = near_clusters(sketches, recipe.sharing.near)
    own_split, own_group = ([told[number] for number in chosen.tolist()] for told in (given, parts.texts("group")))
    found = share(kin, same, own_split, own_group, digests[1][chosen], recipe.sharing)
    split = np.full(len(parts), -1)
    cluster = np.arange(len(parts))
    split[chosen], cluster[chosen] = found.split, chosen[found.cluster]
    near = {int(chosen[number]): (reason, int(chosen[as_])) for number, (reason, as_) in found.left_out.items()}
    return Shared(split, cluster, left_out | near)


def _write_split(parts: Parts, aside: Path, split: str, numbers: np.ndarray) -> list[Shard]:
    (aside / split).mkdir()
    lengths = parts.numbers("ids")[numbers]
    shards = []
    for place, own in enumerate(cut(lengths)):
        parts.copy_ids(numbers[own], aside / paths_of(split, place)[0])
        shards.append(close_shard(aside, split, place, lengths[own]))
    return shards


def _write_meta(parts: Parts, aside: Path, shared: Shared, order: np.ndarray) -> None:
    chosen = parts.rows.take(order)
    columns: dict[str, Any] = {"split": [SPLITS[place] for place in shared.split[order].tolist()]}
    told = (name for name in TOLD if name != "split")
    columns |= {name: chosen[name] for name in ("name", "form", *told, "ids", "notes", "seconds")}
    columns["cluster"] = shared.cluster[order]
    write_table(aside / META, columns, ("split", "form", "source", "tier", "licence", "composer", "group"))


def _write_rejects(parts: Parts, aside: Path, shared: Shared) -> dict[str, int]:
    """Write what is left out, and count it by reason."""
    names, sources = parts.texts("name"), parts.texts("source")
    left = {name: parts.left[name].to_pylist() for name in ("name", "source", "reason", "detail")}
    numbers = sorted(shared.left_out)
    left["name"] += [names[number] for number in numbers]
    left["source"] += [sources[number] for number in numbers]
    left["reason"] += [shared.left_out[number][0] for number in numbers]
    left["detail"] += [names[shared.left_out[number][1]] for number in numbers]
    write_table(aside / REJECTS, left, ("source", "reason"))
    counts = Counter(left["reason"])
    return {reason: counts[reason] for reason in REASONS if counts[reason]}


def _sources(parts: Parts, order: np.ndarray) -> dict[str, dict[str, Any]]:
    """By source, its licence and tier as far as told, documents and ids."""
    found: dict[str, dict[str, Any]] = {}
    chosen = parts.rows.take(order)
    told = zip(*(chosen[name].to_pylist() for name in ("source", "licence", "tier", "ids")), strict=True)
    for source, licence, tier, ids in told:
        entry = found.setdefault(source, {"licence": licence, "tier": tier, "documents": 0, "ids": 0})
        entry["documents"] += 1
        entry["ids"] += ids
    return dict(sorted(found.items()))


def _why(parts: Parts, shared: Shared) -> str:
    reasons = Counter([*parts.left["reason"].to_pylist(), *(reason for reason, _ in shared.left_out.values())])
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "no file of music was found"
