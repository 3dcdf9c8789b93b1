"""Open the studio: a page in the browser where music appears while it is being made."""

import argparse
import os
import socket
import tempfile
import threading
import webbrowser
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
import torch

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.errors import UsageError, UserError
from rwkv_music.render.errors import SoundfontError
from rwkv_music.terminal import tell
from rwkv_music.usual import usual_threads
from rwkv_music_app.gate import is_local
from rwkv_music_app.listening import address_of, listen, read_auth, run_server, warn_where_open
from rwkv_music_app.models import Models
from rwkv_music_app.server import Openness, make_server
from rwkv_music_app.share import share
from rwkv_music_app.sound import Notes
from rwkv_music_app.studio import Studio
from rwkv_music_app.tuning import Tunings
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises UserError, or OSError where the folder cannot be used."""
    auth = read_auth(args.auth)
    if args.share and auth is None:
        raise UsageError("--share opens the studio to everybody on the internet who knows the link: give --auth too")
    if args.mcp and find_spec("mcp") is None:
        raise UserError("--mcp needs the package mcp: pip install 'rwkv-music[mcp]'")
    local = is_local(args.host)
    folder = args.folder or platformdirs.user_data_path("rwkv-music", appauthor=False) / "studio"
    listener = listen(args.host, args.port)
    with tempfile.TemporaryDirectory(prefix="rwkv-music-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        models = Models(args.model or (), args.device, args.dtype, args.rows)
        studio = Studio(folder / "pieces", models)
        torch.set_num_threads(args.threads or usual_threads(models.engine(models.names[0]).spec))
        link = share(*listener.getsockname()[:2]) if args.share else ""
        openness = Openness(auth, local, urlsplit(link).hostname or "", args.mcp)
        # It runs for minutes on all cores, and changes what is offered to everybody: not for whoever comes by.
        tunings = Tunings(folder / "tuning") if local and not link else None
        app = make_server(studio, _notes(folder, args.soundfont), openness, tunings)
        threading.Thread(target=_warm_up, args=(studio,), name="rwkv-music-warming", daemon=True).start()
        _welcome(listener, local, auth is not None, args.open)
        _tell_more(listener, link, args.mcp)
        run_server(app, listener)
    return 0


def _warm_up(studio: Studio) -> None:
    # What goes wrong is told to whoever composes first.
    with suppress(UserError, OSError):
        studio.warm_up()


def _notes(folder: Path, soundfont: Path | None) -> Notes | None:
    """Raises SoundfontError for a soundfont that was asked for and is none."""
    try:
        return Notes(folder / "notes", soundfont)
    except SoundfontError as error:
        if soundfont is not None:
            raise
        tell(f"rwkv-music: the page will be silent: {error}")
        return None


def _welcome(listener: socket.socket, local: bool, asked: bool, show: bool) -> None:
    address = address_of(listener)
    tell(f"the studio is open at {address} (Ctrl-C closes it)")
    warn_where_open(local, asked)
    if show:
        webbrowser.open(address)


def _tell_more(listener: socket.socket, link: str, mcp: bool) -> None:
    if link:
        tell(
            f"rwkv-music: whoever knows the password can now compose on this machine at {link}, through Gradio's server"
        )
    if mcp:
        tell(f"assistants find tools at {address_of(listener)}/gradio_api/mcp/")
