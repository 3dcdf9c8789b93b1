"""Where a server listens and whom it asks for a password, as the command line says it; and how it runs."""

import gc
import socket

import uvicorn

from rwkv_music.errors import UsageError, UserError
from rwkv_music.terminal import tell
from rwkv_music_app.gate import Asgi

# Seconds that those who read have to be told good-bye.
GOODBYE = 2
# Seconds for which a connection stays open that nothing is asked on: longer than clients and proxies keep theirs (5 and
# 60 by default), or else one that the server is just closing is taken for the next request, which is lost.
IDLE = 75


def read_auth(text: str | None) -> tuple[str, str] | None:
    """User and password of `--auth`. Raises UsageError."""
    if text is None:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and len(password) >= 8):
        raise UsageError("--auth takes USER:PASSWORD, the password having 8 characters or more")
    return user, password


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address; 0 takes a free port. Raises UserError where that cannot be had."""
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


def lend(listener: socket.socket) -> socket.socket:
    """A listener's port for another process, which is told its number; as long as this one is open nobody else gets it.

    A port that is only closed may be given to whoever asks for any before that process has come to it. Raises OSError.
    """
    address, family = listener.getsockname(), listener.family
    listener.close()
    held = socket.socket(family, socket.SOCK_STREAM)
    for option in ("SO_REUSEADDR", "SO_REUSEPORT"):
        if hasattr(socket, option):
            held.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    held.bind(address)
    return held


def address_of(listener: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def warn_where_open(local: bool, asked: bool) -> None:
    """Say who may come in from other machines; asked: for a password."""
    if not local:
        who = "whoever knows the password" if asked else "everybody on this network, as no --auth is given,"
        tell(f"rwkv-music: {who} can now compose on this machine; what they send and hear is not encrypted")


def run_server(app: Asgi, listener: socket.socket) -> None:
    """Answer until Ctrl-C."""
    # What there is by now stays to the end: whoever looks for garbage need not walk through it again and again.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        timeout_graceful_shutdown=GOODBYE,
        timeout_keep_alive=IDLE,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])
