"""Checkpoints by torch.distributed.checkpoint: written in the background while training goes on, whole or not at all.

Each process copies its share of every tensor and goes on training; a thread writes the copies as safetensors into a folder
aside, sees them to the disk, and the first process renames the folder when all have done so. A process may be killed at
any moment: the last whole checkpoint stays. Read back, tensors are cut anew for as many processes as there are then.
"""

import shutil
import sys
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from rwkv_music_training.scale.found import (
    CheckpointError,
    Found,
    best_in,
    discard,
    fingerprint,
    name_of,
    read_manifest,
    steps_in,
    sweep,
    sync_folder,
    tidy,
    write_manifest,
)
from rwkv_music_training.scale.parallel import Parallel

Told = TypeVar("Told")


def say(line: str) -> None:
    """A line for those who watch the run, on stderr."""
    print(line, file=sys.stderr, flush=True)


class Checkpoints:
    """The checkpoints of one run in one folder, as one of its processes sees them. All processes call alike."""

    def __init__(self, folder: Path, parallel: Parallel, keep: int = 2, tell: Callable[[str], None] = say):
        """Removes what a killed run left half written. keep: how many are kept, besides the best."""
        self.folder = folder
        self._keep = keep
        self._parallel = parallel
        self._tell = tell if parallel.first else lambda line: None
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[str | None] | None = None
        self._problem: str | None = None
        if parallel.first:
            sweep(folder)
        parallel.wait()

    def save(self, step: int, tensors: Mapping[str, Tensor], told: Mapping[str, Any], best: bool = False) -> None:
        """Copy everything and write it in the background as the checkpoint of a step.

        tensors: by "kind/name", the same names on every process but for what only one has; whole ones that several have
        must be alike. told: JSON values. best: keep this one, instead of the last that was called best.

        A checkpoint that cannot be written (a full disk) is told in a line and does not end the run: the one before stays,
        and the next is tried at its time. `close` raises when the last one of the run failed.
        """
        self.finish()
        writer = HuggingFaceStorageWriter(str(self._aside(step)), save_distributed=True)
        staged = writer.stage(dict(tensors))
        self._pending = self._thread.submit(self._write, writer, staged, step, dict(told), best)

    def finish(self) -> None:
        """Wait until the last checkpoint is on the disk, or has failed. Raises WorkerLost."""
        if self._pending is None:
            return
        pending, self._pending = self._pending, None
        with self._parallel.watch():
            self._problem = pending.result()
        if self._problem:
            kept = steps_in(self.folder)
            last = f"that of step {read_manifest(kept[-1]).step} is kept" if kept else "there is none yet"
            self._tell(f"no checkpoint written into {self.folder}: {self._problem}; {last}, training goes on")

    def close(self) -> None:
        """Wait for the last checkpoint. Raises CheckpointError when it could not be written."""
        self.finish()
        self._thread.shutdown()
        if self._problem:
            raise CheckpointError(f"{self.folder}: the last checkpoint could not be written ({self._problem})")

    def newest(self) -> Found | None:
        """The newest checkpoint whose files are as they were written; a line is told of each newer one that is damaged."""
        found = self._from_first(lambda: steps_in(self.folder))
        for path in reversed(found):
            try:
                one = read_manifest(path)
                damage = self._damage(one)
            except CheckpointError as error:
                damage, one = str(error), None
            if one is not None and damage is None:
                return one
            self._tell(f"{path.name} is damaged and left out: {damage}")
        return None

    def best(self) -> Found | None:
        """The best checkpoint, where one was called so. Raises CheckpointError when it is damaged."""
        path = self._from_first(lambda: best_in(self.folder))
        if path is None:
            return None
        found = read_manifest(path)
        if damage := self._damage(found):
            raise CheckpointError(damage)
        return found

    def load(self, found: Found, tensors: Mapping[str, Tensor]) -> None:
        """Copy what a checkpoint holds into `tensors`, each process its share. Raises CheckpointError."""
        check_shapes(found, tensors)
        read_into(found, dict(tensors), self._parallel.saving)

    def _aside(self, step: int) -> Path:
        return self.folder / f".{name_of(step)}.part"

    def _write(
        self, writer: HuggingFaceStorageWriter, staged: dict[str, Tensor], step: int, told: dict[str, Any], best: bool
    ) -> str | None:
        """In the thread: all of one checkpoint. Returns what went wrong in words, the same on every process."""
        aside = self._aside(step)
        everyone = self._from_all({name: (_kind(one), tuple(one.shape)) for name, one in staged.items()})
        tensors = {name: told for some in everyone for name, told in some.items()}
        writer.fqn_to_index_mapping = _file_of_each(tensors)
        problem = self._together(lambda: self._begin(aside))
        if problem is None:
            problem = self._together(lambda: _save(writer, staged, self._parallel.saving))
        files: dict[str, tuple[int, str]] = {}
        if problem is None:
            files, problem = self._fingerprints(aside)
        if problem is None:
            problem = self._together(lambda: self._put(aside, best, step, told=told, files=files, tensors=tensors))
        if problem is not None and self._parallel.first:
            shutil.rmtree(aside, ignore_errors=True)
        return problem

    def _begin(self, aside: Path) -> None:
        if self._parallel.first:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)

    def _fingerprints(self, aside: Path) -> tuple[dict[str, tuple[int, str]], str | None]:
        """Size and SHA-256 of every file, each process reading its own."""
        mine = f"shard-{self._parallel.rank + 1:05d}-"
        files: dict[str, tuple[int, str]] = {}

        def read() -> None:
            files.update(
                {path.name: (path.stat().st_size, fingerprint(path)) for path in aside.glob(f"{mine}*.safetensors")}
            )

        problem = self._together(read)
        return {name: told for some in self._from_all(files) for name, told in some.items()}, problem

    def _put(self, aside: Path, best: bool, step: int, **told: Any) -> None:
        """In the first process: the manifest is written, the folder gets its name, and what is too old goes."""
        if not self._parallel.first:
            return
        before = best_in(self.folder)
        name = name_of(step) if best else before.name if before else None
        write_manifest(Found(aside, step, best=name, **told))
        target = self.folder / name_of(step)
        if target.exists():
            discard(target)
        aside.rename(target)
        sync_folder(self.folder)
        tidy(self.folder, self._keep)

    def _damage(self, found: Found) -> str | None:
        """What is wrong with any file of a checkpoint; the processes share the reading."""
        mine = sorted(found.files)[self._parallel.rank :: self._parallel.world]
        problems = self._from_all(next((told for name in mine if (told := found.damage(name))), None))
        return next((told for told in problems if told), None)

    def _together(self, work: Callable[[], None]) -> str | None:
        """Do something on every process; what went wrong on any, in words, on all."""
        problem = None
        try:
            work()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            problem = f"{where}{error.strerror or error}"
        except CheckpointException as error:
            problem = _spoken(error)
        return next((told for told in self._from_all(problem) if told), None)

    def _from_all(self, told: Told) -> list[Told]:
        if self._parallel.world == 1:
            return [told]
        everyone: list[Any] = [None] * self._parallel.world
        dist.all_gather_object(everyone, told, group=self._parallel.saving)
        return everyone

    def _from_first(self, ask: Callable[[], Told]) -> Told:
        """What the first process sees: a shared disk may show others something else for a moment."""
        return self._from_all(ask() if self._parallel.first else None)[0]  # pyright: ignore[reportReturnType]


def check_shapes(found: Found, tensors: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError unless the checkpoint has each of these tensors, in its type and shape."""
    for name, tensor in tensors.items():
        expected = (_kind(tensor), tuple(tensor.shape))
        has = found.tensors.get(name)
        if has != expected:
            told = f"is {has[0]} {list(has[1])}" if has else "is missing"
            raise CheckpointError(
                f"{found.path}: '{name}' {told}, this run needs {expected[0]} {list(expected[1])}: "
                "resume with the config that the run was begun with"
            )


def read_into(found: Found, tensors: dict[str, Tensor], group: dist.ProcessGroup | None = None) -> None:
    """Copy a checkpoint's values into tensors of its shapes. Raises CheckpointError."""
    _alone_on_purpose()
    try:
        load(
            tensors,
            storage_reader=HuggingFaceStorageReader(str(found.path)),
            process_group=group,
            no_dist=group is None,
        )
    except CheckpointException as error:
        raise CheckpointError(f"{found.path}: {_spoken(error)}") from error


def _save(writer: HuggingFaceStorageWriter, staged: dict[str, Tensor], group: dist.ProcessGroup | None) -> None:
    _alone_on_purpose()
    save(staged, storage_writer=writer, process_group=group, no_dist=group is None)


def _alone_on_purpose() -> None:
    """One process without others is what is meant, and nothing to warn of."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _file_of_each(tensors: Mapping[str, object]) -> dict[str, int]:
    """A file of its own for each kind: no more than one kind is in memory twice while it is written."""
    kinds = sorted({name.split("/")[0] for name in tensors})
    return {name: kinds.index(name.split("/")[0]) + 1 for name in tensors}


def _spoken(error: CheckpointException) -> str:
    """The first failure of any process, in a line."""
    rank, (cause, _trace) = sorted(error.failures.items())[0]
    if isinstance(cause, OSError):
        where = f"{cause.filename}: " if cause.filename else ""
        return f"{where}{cause.strerror or cause}"
    return f"process {rank}: {' '.join(str(cause).split())[:300]}"
