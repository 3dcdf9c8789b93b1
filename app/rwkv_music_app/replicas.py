"""The API as a Ray Serve application: replicas, each with an engine of its own, that share a folder of pieces.

Any replica can answer any request: pieces are read from the folder when another replica has changed them, and a stream
that is lost with its replica is told on by the next one, from the event on that its reader has.
"""

import asyncio
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rwkv_music.errors import UserError
from rwkv_music_app.batcher import MOST_WAITING
from rwkv_music_app.gate import Asgi, Message, Receive, Send
from rwkv_music_app.models import Models
from rwkv_music_app.server import make_service
from rwkv_music_app.service import Service
from rwkv_music_app.shared_store import SharedStore
from rwkv_music_app.studio import Studio

NAME = "rwkv-music"
# Seconds that streams have to end before their replica leaves, and between two looks whether they have.
GRACE, LOOK = 30.0, 0.5
# Seconds between two questions whether a replica is well, and for the answer.
WELL, ANSWER = 5.0, 20.0
# Bytes of the store that a cluster of this machine's own has for what its processes send each other.
OBJECTS = 128 << 20


@dataclass(frozen=True)
class Scale:
    """How many replicas there are, and where."""

    least: int = 1
    # More than the least come as takes that grow at once become more than --rows for each.
    most: int = 1
    # Of a cluster; "" is one of this machine's own.
    address: str = ""


class Late:
    """The application of a service, opened by the process in which it starts."""

    def __init__(self, service: Service):
        self._service = service
        self._studio: Studio | None = None
        self._app: Asgi | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer; what comes first, the start of the lifespan, opens the studio."""
        if self._app is None:
            self._studio = await asyncio.to_thread(self._service.open, SharedStore)
            self._app = make_service(self._studio, self._service.openness)
        await self._app(scope, receive, send)

    def check(self) -> None:
        """Raises RuntimeError where an engine works no more."""
        if self._studio is not None and not all(batcher.works for batcher in self._studio.models.batchers()):
            raise RuntimeError("a model's batcher has ended")


class Replica:
    """What Ray asks of a replica besides requests; `app` is the application of the deployment."""

    app: Late

    def check_health(self) -> None:
        """Raises RuntimeError where Ray is to put another one in its place."""
        self.app.check()


def application(service: Service, scale: Scale) -> Any:
    """The Ray Serve application of a service. A replica takes as many cores as it has threads, or else one."""
    from ray import serve

    gpu = {"num_gpus": 1} if service.device.startswith("cuda") else {}
    made: Any = serve.deployment(
        serve.ingress(Late(service))(Replica),
        name=NAME,
        ray_actor_options={"num_cpus": service.threads or 1, **gpu},
        # The batcher refuses what is too much for it; what merely looks must come through all the same.
        max_ongoing_requests=MOST_WAITING + 4 * service.rows,
        graceful_shutdown_timeout_s=GRACE,
        graceful_shutdown_wait_loop_s=LOOK,
        health_check_period_s=WELL,
        health_check_timeout_s=ANSWER,
        logging_config={"log_level": "WARNING", "enable_access_log": False},
        **_number(scale, service.rows),
    )
    return made.bind()


def serve_replicas(service: Service, scale: Scale, host: str, port: int, ready: Callable[[], None]) -> None:
    """Run them until Ctrl-C; ready: called when they answer.

    Raises UserError where Ray is not installed or not reached, and where a replica cannot start; ModelNotFoundError.
    """
    # Before anything is started.
    Models(service.models)
    over = threading.Event()
    ray, serve = _ray_of(scale.address, scale.most * (service.threads or 1))
    try:
        try:
            serve.start(proxy_location="EveryNode", http_options={"host": host, "port": port})
            serve.run(application(service, scale), name=NAME, route_prefix="/")
        except (OSError, RuntimeError, ray.exceptions.RayError) as error:
            # Ray tells where in its code a process failed, and at the end what happened.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise UserError(f"the replicas cannot start: {reason}"[:2000]) from None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: over.set())
        ready()
        over.wait()
        serve.delete(NAME)
    finally:
        ray.shutdown()


def _ray_of(address: str, cores: int) -> tuple[Any, Any]:
    """Ray and Ray Serve, joined to a cluster; "" makes one of this machine's own, where so many cores are given away.

    Raises UserError where Ray is not installed, or not reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        # Ray listens to other machines too, and does whatever it is asked to by those who know this.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # A busy machine takes longer than the five seconds after which Ray would begin anew.
        os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    try:
        import ray
        from ray import serve
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'rwkv-music[ray]'") from None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    own = {
        "num_cpus": max(os.cpu_count() or 1, cores),
        "include_dashboard": False,
        "object_store_memory": OBJECTS,
        "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    try:
        ray.init(**({"address": address} if address else own), **quiet)
    # What Ray raises where nobody answers, or not in time; none of these has anything to do with a file.
    except (OSError, ValueError, RuntimeError) as error:
        reason = f"{address}: no Ray cluster is reached there" if address else "Ray cannot start here"
        raise UserError(f"{reason} ({str(error)[:200] or type(error).__name__})") from None
    return ray, serve


def _number(scale: Scale, rows: int) -> dict[str, Any]:
    if scale.least == scale.most:
        return {"num_replicas": scale.least}
    bounds = {"min_replicas": scale.least, "max_replicas": scale.most}
    return {"autoscaling_config": {**bounds, "target_ongoing_requests": rows}}
