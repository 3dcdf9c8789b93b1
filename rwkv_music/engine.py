"""A model at work: token ids in, logits and a new state out. The engine knows ids only."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rwkv_music.checkpoint.load import CheckpointError, file_hash, load_weights
from rwkv_music.checkpoint.lora import merge_lora, merged_hash
from rwkv_music.library import ModelConfig, ModelFiles, chosen, find_model, find_style
from rwkv_music.model.spec import ModelError, Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, read_spec, shapes_of, start_memory, tidy
from rwkv_music.running import DTYPES, Runner, choose_runner, torch_model
from rwkv_music.styles import mixed_memory


class Engine:
    """One model on one device. Its methods change neither the engine nor a state they are given.

    On the CPU the logits of a piece are the same bits whatever else is in the batch and however its ids are cut into
    calls, at a fixed dtype. On a GPU they are the same to rounding.
    """

    def __init__(
        self,
        spec: Spec,
        runner: Runner,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        weights_hash: str = "",
        config: ModelConfig | None = None,
        start: Tensor | None = None,
        files: ModelFiles | None = None,
    ):
        """`weights_hash` is the sha256 of the weights file, by which a saved state knows its model.

        start: the memory (L, 1, H, N, N) that a piece begins with where weights were tuned with one; None: nothing.
        files: where the weights came from, and beside them their styles.
        """
        self.spec = spec
        self.runner = runner
        self.device = torch.device(device)
        self.dtype = dtype
        self.hash = weights_hash
        self.config = config
        self._start = start
        self._files = files

    @classmethod
    def open(
        cls,
        path_or_name: str | Path,
        device: str = "cpu",
        dtype: str = "float32",
        kernels: str | None = None,
        *,
        lora: Path | None = None,
        alpha: float | None = None,
    ) -> "Engine":
        """The model in a file or folder, or of that name, ready to run; with the styles that the name says.

        dtype: of the matrices, "float32" (on the CPU without more memory than a file in bfloat16 takes), "bfloat16" or
        on the CPU "int8"; kernels: a backend by name (see `doctor`), None for the fastest; lora: an adapter to merge,
        with its `alpha` where the file does not hold it. Raises CheckpointError (or OSError) when the weights cannot be
        used, ValueError for an unknown dtype, KernelError for a backend that cannot run here, and like `styled`.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype '{dtype}' is none of {', '.join(DTYPES)}")
        files = find_model(path_or_name)
        spec, weights, start = _read(files.weights, lora, alpha)
        runner = choose_runner(spec, weights, device, dtype, kernels)
        digest = file_hash(files.weights) if lora is None else merged_hash(files.weights, lora, alpha)
        told = {"weights_hash": digest, "config": files.config, "start": start, "files": files}
        engine = cls(spec, runner, device=device, dtype=dtype, **told)
        styles = chosen(path_or_name).styles
        return engine.styled(styles) if styles else engine

    def styled(self, styles: Sequence[tuple[str, float]]) -> "Engine":
        """The same model, over the same weights, whose pieces begin with some styles, each with its weight.

        styles: by name or file. The hash knows them, for a piece that was begun with a style
        goes on with none other. Raises UserError for a style there is not, or that was made for another model; OSError.
        """
        if self._files is None:
            raise ValueError("this engine does not know where its weights lie, and so not its styles")
        start = mixed_memory(styles, self._files, self.spec, self.hash, self._start)
        parts = [f"{file_hash(find_style(name, self._files))} {weight:g}" for name, weight in styles]
        digest = hashlib.sha256(" ".join([self.hash, *parts]).encode()).hexdigest()
        told = {"weights_hash": digest, "config": self.config, "start": start}
        return Engine(self.spec, self.runner, device=str(self.device), dtype=self.dtype, **told)

    def advance(
        self, ids: Sequence[int] | Tensor, state: State | None = None, all_logits: bool = False
    ) -> tuple[Tensor, State]:
        """Read token ids after what `state` remembers (None: nothing), which stays as it is.

        ids: (T,) for one piece or (B, T) for several, T >= 1, each in 0..V-1. Returns float32 logits for what follows
        the last token, (V,) or (B, V), or with `all_logits` what follows each token, (T, V) or (B, T, V); and the
        state after the last token. Rows join and leave between calls by `State.stack` and `State.pick`. Raises
        ValueError for ids or a state that do not fit.
        """
        rows = torch.as_tensor(ids, dtype=torch.int64, device=self.device)
        single = rows.dim() == 1
        rows = rows[None] if single else rows
        if rows.dim() != 2 or rows.shape[0] < 1 or rows.shape[1] < 1:
            raise ValueError(f"ids must be (T,) or (B, T) with at least one token, not {list(rows.shape)}")
        if int(rows.min()) < 0 or int(rows.max()) >= self.spec.vocabulary:
            raise ValueError(f"ids must be in 0..{self.spec.vocabulary - 1}")
        logits, state = self.runner.forward(rows, self.fit(state, rows.shape[0]), all_logits)
        logits = logits if all_logits else logits[:, -1]
        return (logits[0] if single else logits), state

    def fit(self, state: State | None, batch: int) -> State:
        """The state to go on from, on this device; None is the beginning. Raises ValueError when it is of another model."""
        if state is None:
            return self.beginning(batch)
        blank = State.zeros(self.spec, batch, "meta")
        if state.wkv.shape != blank.wkv.shape or state.time_shift.shape != blank.time_shift.shape:
            raise ValueError(f"the state is {list(state.wkv.shape)}, this model and batch need {list(blank.wkv.shape)}")
        return state.to(self.device)

    def beginning(self, batch: int = 1) -> State:
        """What the model remembers before the first token."""
        blank = State.zeros(self.spec, batch, self.device)
        if self._start is None:
            return blank
        memory = self._start.to(self.device).expand(-1, batch, *self._start.shape[2:]).contiguous()
        return State(blank.time_shift, blank.channel_shift, memory)


def open_model(
    path_or_name: str | Path, device: str = "cpu", dtype: str = "float32", kernels: str | None = None
) -> Model:
    """The model itself, in torch, as training and measuring need it. Raises like `Engine.open`."""
    spec, weights, _ = _read(find_model(path_or_name).weights, None, None)
    return torch_model(spec, weights, device, dtype, kernels)


def _read(path: Path, lora: Path | None, alpha: float | None) -> tuple[Spec, Mapping[str, Tensor], Tensor | None]:
    """The spec, the tensors it needs, each made when it is asked for, and the memory to begin with if there is one."""
    tensors: Mapping[str, Tensor] = load_weights(path)
    if lora is not None:
        tensors = merge_lora(tensors, lora, alpha=alpha)
    try:
        spec = read_spec(shapes_of(tensors))
        return spec, tidy(tensors, spec), start_memory(tensors, spec)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from None
