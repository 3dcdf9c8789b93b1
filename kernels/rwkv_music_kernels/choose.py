"""Which backend runs on a device: asked once, when an engine is made."""

import logging
from dataclasses import dataclass

import torch

from rwkv_music_kernels.contract import KernelError, Kernels
from rwkv_music_kernels.reference import ReferenceKernels

# Fastest first.
NAMES = ("cpu", "chunked", "reference")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """What is known of one backend on one device."""

    name: str
    # False: asking for it by name raises KernelError.
    usable: bool
    # What it is good for, or why it cannot be used.
    reason: str


def backends(device: str | torch.device) -> list[Backend]:
    """Every backend as seen from `device`, in the order `choose_kernels` tries them."""
    kind = torch.device(device).type
    return [
        _cpu_backend(kind),
        Backend("chunked", True, f"plain torch in chunks of tokens, any device ({kind} here)"),
        Backend("reference", True, "plain torch, token by token: slow, the truth the others are held to"),
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
        if backend.name == torch.device(device).type:
            _log.warning("the fast %s kernels are left out: %s", backend.name, backend.reason)
    raise AssertionError("the reference is always usable")


def _cpu_backend(kind: str) -> Backend:
    if kind != "cpu":
        return Backend("cpu", False, f"Numba kernels run on the CPU only, not on {kind}")
    try:
        import numba
    except (ImportError, OSError) as error:
        return Backend("cpu", False, f"Numba cannot be loaded ({error}); mend with: pip install numba")
    return Backend("cpu", True, f"Numba {numba.__version__}, {torch.get_num_threads()} threads")


def _load(name: str) -> Kernels:
    if name == "cpu":
        from rwkv_music_kernels.cpu.cache import settle_cache

        settle_cache()
        from rwkv_music_kernels.cpu.kernels import CpuKernels

        return CpuKernels()
    if name == "chunked":
        from rwkv_music_kernels.chunked import ChunkedKernels

        return ChunkedKernels()
    return ReferenceKernels()
