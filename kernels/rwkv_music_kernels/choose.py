"""Which backend runs on a device: asked once, when an engine is made."""

import logging
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from rwkv_music_kernels.contract import KernelError, Kernels
from rwkv_music_kernels.reference import ReferenceKernels
from rwkv_music_kernels.slots import PlainSlots

# Fastest first; `fla` only where it is asked for.
NAMES = ("triton", "cpu", "torch", "reference", "fla")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """What is known of one backend on one device."""

    name: str
    # False: asking for it by name raises KernelError.
    usable: bool
    # What it is good for, or why it cannot be used.
    reason: str
    # The kind of device that it was written for, and that misses it where it cannot be used; "" for any.
    home: str = ""


def backends(device: str | torch.device) -> list[Backend]:
    """Every backend as seen from `device`, in the order `choose_kernels` tries them."""
    kind = torch.device(device).type
    return [
        _triton_backend(kind),
        _cpu_backend(kind),
        Backend("torch", True, f"plain torch in chunks of tokens, any device ({kind} here)"),
        Backend("reference", True, "plain torch, token by token: slow, the truth the others are held to"),
        _fla_backend(kind),
    ]


def choose_kernels(device: str | torch.device, name: str | None = None) -> Kernels:
    """The backend called `name`, or the fastest one usable on `device`.

    A backend of this device that is passed over because it cannot be loaded is told of in the log.
    Raises KernelError where `name` is unknown or cannot be used on `device`.
    """
    if name is not None and name not in NAMES:
        raise KernelError(f"there are no kernels called {name!r}; choose one of {', '.join(NAMES)}")
    for backend in backends(device):
        if name is not None and name != backend.name:
            continue
        if backend.usable:
            return _load(backend.name)
        if name is not None:
            raise KernelError(f"the kernels {name!r} cannot be used on {device}: {backend.reason}")
        if backend.home == torch.device(device).type:
            _log.warning("the fast %s kernels are left out: %s", backend.name, backend.reason)
    raise AssertionError("the reference is always usable")


def pooled_kernels(kernels: Kernels) -> type[PlainSlots]:
    """What goes with a backend where the rows of a step have their states in a pool."""
    if kernels.name != "triton":
        return PlainSlots
    from rwkv_music_kernels.triton.decode import TritonSlots

    return TritonSlots


def _triton_backend(kind: str) -> Backend:
    if kind != "cuda":
        return Backend("triton", False, f"Triton kernels run on GPUs, not on {kind}")
    if find_spec("triton") is None:
        return Backend("triton", False, "Triton is not installed; mend with: pip install 'rwkv-music[gpu]'", "cuda")
    return Backend("triton", True, "Triton, forward and backward", "cuda")


def _cpu_backend(kind: str) -> Backend:
    if kind != "cpu":
        return Backend("cpu", False, f"Numba kernels run on the CPU only, not on {kind}")
    try:
        import numba
    except (ImportError, OSError) as error:
        return Backend("cpu", False, f"Numba cannot be loaded ({error}); mend with: pip install numba", "cpu")
    return Backend("cpu", True, f"Numba {numba.__version__}, {torch.get_num_threads()} threads", "cpu")


def _fla_backend(kind: str) -> Backend:
    if kind != "cuda" or find_spec("fla") is None:
        return Backend("fla", False, "wants a GPU and PyPI fla-core, for those who wish to compare")
    return Backend("fla", True, "flash-linear-attention, where it is asked for")


def _load(name: str) -> Kernels:
    if name == "triton":
        from rwkv_music_kernels.triton.kernels import TritonKernels

        return TritonKernels()
    if name == "cpu":
        from rwkv_music_kernels.cpu.cache import settle_cache

        settle_cache()
        from rwkv_music_kernels.cpu.kernels import CpuKernels

        return CpuKernels()
    if name == "torch":
        from rwkv_music_kernels.chunked import ChunkedKernels

        return ChunkedKernels()
    if name == "fla":
        from rwkv_music_kernels.fla import FlaKernels

        return FlaKernels()
    return ReferenceKernels()
