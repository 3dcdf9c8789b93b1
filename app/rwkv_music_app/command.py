"""Open the studio: a page in the browser where music appears while it is being made."""

import argparse
import ipaddress
import os
import socket
import tempfile
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
import torch
import uvicorn

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.errors import UsageError, UserError
from rwkv_music.render.errors import SoundfontError
from rwkv_music.terminal import tell
from rwkv_music.usual import usual_threads
from rwkv_music_app.models import Models
from rwkv_music_app.server import Openness, make_server
from rwkv_music_app.share import share
from rwkv_music_app.sound import Notes
from rwkv_music_app.studio import Studio
from rwkv_music_app.tuning import Tunings
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)
# Seconds that pages which are open have to be told good-bye.
GOODBYE = 2


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises UserError, or OSError where the folder cannot be used."""
    auth = _auth(args.auth)
    if args.share and auth is None:
        raise UsageError("--share opens the studio to everybody on the internet who knows the link: give --auth too")
    if args.mcp and find_spec("mcp") is None:
        raise UserError("--mcp needs the package mcp: pip install 'rwkv-music[mcp]'")
    local = _is_local(args.host)
    folder = args.folder or platformdirs.user_data_path("rwkv-music", appauthor=False) / "studio"
    listener = _listen(args.host, args.port)
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
        _welcome(listener, local, auth is not None, args.open)
        _tell_more(listener, link, args.mcp)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GOODBYE, server_header=False)
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _auth(text: str | None) -> tuple[str, str] | None:
    """User and password. Raises UsageError."""
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and len(password) >= 8):
        raise UsageError("--auth takes USER:PASSWORD, the password having 8 characters or more")
    return user, password


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Raises UserError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{host}:{port} cannot be used ({reason}): choose another one with --port") from None
    return listener


def _notes(folder: Path, soundfont: Path | None) -> Notes | None:
    """Raises SoundfontError for a soundfont that was asked for and is none."""
    try:
        return Notes(folder / "notes", soundfont)
    except SoundfontError as error:
        if soundfont is not None:
            raise
        tell(f"rwkv-music: the page will be silent: {error}")
        return None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def _welcome(listener: socket.socket, local: bool, asked: bool, show: bool) -> None:
    address = _address(listener)
    tell(f"the studio is open at {address} (Ctrl-C closes it)")
    if not local:
        who = "whoever knows the password" if asked else "everybody on this network, as no --auth is given,"
        tell(f"rwkv-music: {who} can now compose on this machine; what they send and hear is not encrypted")
    if show:
        webbrowser.open(address)


def _tell_more(listener: socket.socket, link: str, mcp: bool) -> None:
    if link:
        tell(
            f"rwkv-music: whoever knows the password can now compose on this machine at {link}, through Gradio's server"
        )
    if mcp:
        tell(f"assistants find tools at {_address(listener)}/gradio_api/mcp/")
