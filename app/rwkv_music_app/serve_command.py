"""Serve the API: from this process, or from replicas on a Ray cluster."""

import argparse

import platformdirs

from rwkv_music.checkpoint.load import CheckpointError
from rwkv_music.errors import UsageError
from rwkv_music.terminal import tell
from rwkv_music_app.gate import is_local
from rwkv_music_app.listening import address_of, lend, listen, read_auth, run_server, warn_where_open
from rwkv_music_app.replicas import Scale, serve_replicas
from rwkv_music_app.server import Openness, make_service
from rwkv_music_app.service import Service
from rwkv_music_kernels.contract import KernelError

USER_ERRORS = (CheckpointError, KernelError)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises UserError, or OSError where the folder cannot be used."""
    scale = _scale(args)
    openness = Openness(read_auth(args.auth), is_local(args.host))
    folder = args.store or platformdirs.user_data_path("rwkv-music", appauthor=False) / "service"
    service = Service(
        folder.resolve(), tuple(args.model or ()), args.device, args.dtype, args.rows, args.threads, openness
    )
    listener = listen(args.host, args.port)
    address = f"{address_of(listener)}/api/v1"
    if scale is None:
        app = make_service(service.open(), openness)
        _welcome(address, openness)
        run_server(app, listener)
    else:
        # Ray listens there itself, some seconds and many other ports later.
        with lend(listener) as held:
            host, port = held.getsockname()[:2]
            serve_replicas(service, scale, host, port, lambda: _welcome(address, openness))
    return 0


def _scale(args: argparse.Namespace) -> Scale | None:
    """None for one process. Raises UsageError for what does not go together."""
    bounds = (args.min_replicas, args.max_replicas)
    if not args.ray:
        if any(option is not None for option in (args.replicas, args.address, *bounds)):
            raise UsageError("--address, --replicas, --min-replicas and --max-replicas need --ray")
        return None
    if args.replicas is not None and bounds != (None, None):
        raise UsageError("--replicas is a fixed number: leave it out, or --min-replicas and --max-replicas")
    least = (args.replicas or 1) if args.min_replicas is None else args.min_replicas
    most = max(least, 1) if args.max_replicas is None else args.max_replicas
    if most < least:
        raise UsageError("--max-replicas is less than --min-replicas")
    return Scale(least, most, args.address or "")


def _welcome(address: str, openness: Openness) -> None:
    tell(f"the API answers at {address}, and tells about itself at {address}/openapi.json (Ctrl-C ends it)")
    warn_where_open(openness.local, openness.auth is not None)
