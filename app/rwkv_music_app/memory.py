"""Memory that nobody uses any more goes back to the system."""

import ctypes
import sys


def give_back() -> None:
    """Between what is still in use, glibc keeps what was freed: after an evening of states, as much as they took.

    Does nothing on systems that keep memory in another way.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
