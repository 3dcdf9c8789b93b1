"""What whoever runs a studio wants to watch, as Prometheus reads it."""

import time
from collections.abc import Callable, Iterator

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rwkv_music_app.api.refusals import refused
from rwkv_music_app.api.routes import VERSION
from rwkv_music_app.gate import Asgi, Message, Receive, Send
from rwkv_music_app.studio import Studio

# Seconds until the first note is told.
BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 60)


class Metrics:
    """The numbers of one server, in a registry of its own."""

    def __init__(self, studio: Studio):
        self.registry = CollectorRegistry()
        self.registry.register(Watched(studio))
        self._requests = Counter(
            "rwkv_music_requests", "Requests answered", ("route", "method", "status"), registry=self.registry
        )
        self._first_note = Histogram(
            "rwkv_music_first_note_seconds",
            "From a request to its first note told, of streams of the API",
            buckets=BUCKETS,
            registry=self.registry,
        )

    def time_to_first_note(self) -> Callable[[], None]:
        """Called now; call what is returned when the first note is told."""
        begun = time.monotonic()
        return lambda: self._first_note.observe(time.monotonic() - begun)

    def counted(self, app: Asgi) -> Asgi:
        """An application whose answers are counted, by the templates of its routes."""

        async def counting(scope: Message, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._requests.labels(_template(scope), _method(scope), str(message["status"])).inc()
                await send(message)

            await app(scope, receive, sending)

        return counting


class Watched(Collector):
    """What a studio does at this moment, asked for when somebody looks."""

    def __init__(self, studio: Studio):
        self._studio = studio

    def collect(self) -> Iterator[Metric]:
        """One metric after the other."""
        batchers = self._studio.models.batchers()
        tokens = sum(batcher.tokens for batcher in batchers)
        rows = [batcher.rows for batcher in batchers]
        yield CounterMetricFamily("rwkv_music_tokens", "Tokens made; their rate is the speed", value=tokens)
        states = GaugeMetricFamily("rwkv_music_rows", "Takes that grow, and that wait for it", labels=("state",))
        states.add_metric(("growing",), sum(growing for growing, _ in rows))
        states.add_metric(("waiting",), sum(waiting for _, waiting in rows))
        yield states
        places = GaugeMetricFamily("rwkv_music_sessions", "Sessions by where they are", labels=("place",))
        places.add_metric(("memory",), len(self._studio.store))
        places.add_metric(("disk",), self._studio.store.on_disk)
        yield places


def metrics_route(metrics: Metrics) -> APIRouter:
    """The route that Prometheus reads."""
    router = APIRouter(prefix=VERSION, tags=["running"])

    @router.get("/metrics", response_class=PlainTextResponse, responses=refused())
    def read() -> Response:
        """Numbers for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def _template(scope: Message) -> str:
    """The route that answered, without what changes from request to request; whatever has none is another."""
    path = getattr(scope.get("route"), "path_format", None) or getattr(scope.get("route"), "path", None)
    return f"{scope.get('root_path', '')}{path}" if path else "other"


def _method(scope: Message) -> str:
    return scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"
