"""Where Numba keeps its machine code from one process to the next."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from numba.core.config import reload_config
from numba.misc.appdirs import AppDirs


def settle_cache() -> None:
    """Give Numba a folder of this process where it would find none to write to; call before the kernels are imported.

    NUMBA_CACHE_DIR has the last word. Without it Numba takes __pycache__ beside the kernels, or else the user's
    cache folder, and refuses to import the kernels where both are read-only.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    beside = Path(__file__).parent / "__pycache__"
    users = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)
    if _writable(beside) or _writable(users):
        return
    # Private, for the files are run: a fixed name in a shared folder could be filled by somebody else.
    folder = tempfile.mkdtemp(prefix="rwkv-music-numba-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder
    reload_config()


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
