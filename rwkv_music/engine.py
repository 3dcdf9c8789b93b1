"""A model at work: token ids in, logits and a new state out. The engine knows ids only."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from rwkv_music.checkpoint.load import CheckpointError, file_hash, load_weights
from rwkv_music.library import ModelConfig, find_model
from rwkv_music.model.spec import ModelError, Spec
from rwkv_music.model.state import State
from rwkv_music.model.versions import Model, build_model, read_spec, shapes_of, tidy
from rwkv_music_kernels.choose import choose_kernels

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Tokens read in one pass; longer inputs go through in pieces, so memory does not grow with the length.
PIECE = 1024


class Engine:
    """One model on one device. Its methods change neither the engine nor a state they are given."""

    def __init__(self, model: Model, *, weights_hash: str = "", config: ModelConfig | None = None):
        """`weights_hash` is the sha256 of the weights file, by which a saved state knows its model."""
        self.model = model
        self.hash = weights_hash
        self.config = config
        self.device = model.weights["emb.weight"].device
        self.dtype = model.weights["emb.weight"].dtype

    @classmethod
    def open(cls, path_or_name: str | Path, device: str = "cpu", dtype: str = "float32") -> "Engine":
        """The model in a file or folder, or the embedded model of that name, ready to run.

        Raises CheckpointError (or OSError) when the weights cannot be used, ValueError for an unknown dtype.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype '{dtype}' is none of {', '.join(DTYPES)}")
        files = find_model(path_or_name)
        tensors = load_weights(files.weights)
        try:
            spec = read_spec(shapes_of(tensors))
            tensors = tidy(tensors, spec)
        except ModelError as error:
            raise CheckpointError(f"{files.weights}: {error}") from None
        weights = {name: place(tensor, device, DTYPES[dtype]) for name, tensor in tensors.items()}
        model = build_model(spec, weights, choose_kernels(device))
        return cls(model, weights_hash=file_hash(files.weights), config=files.config)

    @property
    def spec(self) -> Spec:
        return self.model.spec

    def advance(
        self, ids: Sequence[int] | Tensor, state: State | None = None, all_logits: bool = False
    ) -> tuple[Tensor, State]:
        """Read token ids after what `state` remembers (None: nothing), which stays as it is.

        ids: (T,) for one piece or (B, T) for several, T >= 1, each in 0..V-1. Returns float32 logits for what follows
        the last token, (V,) or (B, V), or with `all_logits` what follows each token, (T, V) or (B, T, V); and the
        state after the last token. Raises ValueError for ids or a state that do not fit.
        """
        rows = torch.as_tensor(ids, dtype=torch.int64, device=self.device)
        single = rows.dim() == 1
        rows = rows[None] if single else rows
        if rows.dim() != 2 or rows.shape[1] < 1:
            raise ValueError(f"ids must be (T,) or (B, T) with at least one token, not {list(rows.shape)}")
        if int(rows.min()) < 0 or int(rows.max()) >= self.spec.vocabulary:
            raise ValueError(f"ids must be in 0..{self.spec.vocabulary - 1}")
        state = self.fit(state, rows.shape[0])
        kept = []
        with torch.inference_mode():
            for piece in rows.split(PIECE, dim=1):
                logits, state = self.model.forward(piece, state)
                kept.append(logits if all_logits else logits[:, -1:])
        result = torch.cat(kept, dim=1).float() if all_logits else kept[-1][:, -1].float()
        return (result[0] if single else result), state

    def fit(self, state: State | None, batch: int) -> State:
        """The state to go on from, on this device: zeros for None. Raises ValueError when it is of another model."""
        blank = State.zeros(self.spec, batch, "meta")
        if state is None:
            return State.zeros(self.spec, batch, self.device)
        if state.wkv.shape != blank.wkv.shape or state.time_shift.shape != blank.time_shift.shape:
            raise ValueError(f"the state is {list(state.wkv.shape)}, this model and batch need {list(blank.wkv.shape)}")
        return state.to(self.device)


def place(tensor: Tensor, device: str, dtype: torch.dtype) -> Tensor:
    """A weight where and as it is computed with: matrices in `dtype`, vectors in float32, whose digits matter most."""
    vector = sum(size > 1 for size in tensor.shape) < 2
    return tensor.to(device, torch.float32 if vector else dtype)
