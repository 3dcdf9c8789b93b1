"""What every request goes through before anything else sees it: who it is, whether it may, how much, how fast."""

import asyncio
import base64
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "rwkv_music"
OWNER = re.compile(r"[0-9a-f]{64}")
A_YEAR = 365 * 24 * 3600
# Of what is sent to us, and seconds that sending may take.
MOST_BYTES = 6 << 20
MOST_SECONDS = 30.0
# Requests that change something or cost something: so many at once from one address, and so many a second after that.
BURST, RATE = 60.0, 12.0
MOST_CLIENTS = 10_000
LOCAL = ("localhost", "127.0.0.1", "[::1]")
# Gradio's templates are functions made of text, hence eval; nothing may be asked of any other server.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Refused(HTTPException):
    """A request that goes no further: an HTTP status, and why."""


class Gate:
    """Wraps an application. Everybody gets a cookie that nobody can guess, by which their pieces are theirs."""

    def __init__(self, app: Asgi, *, auth: tuple[str, str] | None = None, local: bool = True, secure: bool = False):
        """auth: user and password, asked for before anything else. local: only names of this machine are answered.

        secure: the cookie goes over https only.
        """
        self._app = app
        self._auth = auth
        self._local = local
        self._secure = secure
        self._lock = threading.Lock()
        # Of each address: requests it has left, and when it had them.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request in, or answer why not."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = _headers(scope)
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*_without_ours(message.get("headers", [])), *HEADERS, *cookies]
            await send(message)

        cookies: list[tuple[bytes, bytes]] = []
        try:
            self._check(scope, headers)
            cookies = self._known(scope, headers)
            await self._app(scope, _measured(receive, headers), sending)
        except Refused as refused:
            if not begun:
                await _answer(sending, refused)

    def _check(self, scope: Message, headers: dict[str, str]) -> None:
        """Raises Refused for who may not, for another site's page, and for too many requests."""
        host = headers.get("host", "")
        name = re.sub(r":\d+$", "", host).lower()
        if self._local and name not in LOCAL:
            raise Refused(403, "this studio answers on its own machine only")
        if self._auth is not None and not _is_known(headers.get("authorization", ""), self._auth):
            raise Refused(401, "who are you?")
        if scope["method"] in ("GET", "HEAD", "OPTIONS") and "/take/" not in scope["path"]:
            return
        origin = headers.get("origin", "")
        if origin and re.sub(r"^https?://", "", origin).lower() != host.lower():
            raise Refused(403, "another site's page may not ask for this")
        client = scope.get("client")
        self._count(client[0] if client else "")

    def _count(self, client: str) -> None:
        now = time.monotonic()
        with self._lock:
            left, when = self._buckets.pop(client, (BURST, now))
            left = min(BURST, left + (now - when) * RATE) - 1
            self._buckets[client] = max(left, -1.0), now
            if len(self._buckets) > MOST_CLIENTS:
                self._buckets.popitem(last=False)
        if left < 0:
            raise Refused(429, "that was a lot at once: wait a second")

    def _known(self, scope: Message, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
        """Whoever has no cookie gets one, with this request already; what tells their browser to keep it."""
        if owner_in(headers.get("cookie", "")):
            return []
        told = f"{COOKIE}={secrets.token_hex(32)}"
        others = [(key, value) for key, value in scope["headers"] if key != b"cookie"]
        scope["headers"] = [*others, (b"cookie", told.encode())]
        rules = f"; Path=/; Max-Age={A_YEAR}; HttpOnly; SameSite=Lax{'; Secure' * self._secure}"
        return [(b"set-cookie", (told + rules).encode())]


def owner_in(cookie: str) -> str:
    """Whose a request is, by its cookie header; "" where it does not say."""
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and OWNER.fullmatch(value):
            return value
    return ""


def _headers(scope: Message) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


def _without_ours(headers: Any) -> list[tuple[bytes, bytes]]:
    ours = {key for key, _ in HEADERS}
    return [(key, value) for key, value in headers if key.lower() not in ours]


def _is_known(told: str, auth: tuple[str, str]) -> bool:
    kind, _, coded = told.partition(" ")
    try:
        given = base64.b64decode(coded, validate=True) if kind.lower() == "basic" else b""
    except ValueError:
        return False
    return hmac.compare_digest(given, ":".join(auth).encode())


def _measured(receive: Receive, headers: dict[str, str]) -> Receive:
    """What is sent to us, as far as it is neither too much nor too slow. Raises Refused."""
    told = headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > MOST_BYTES:
        raise Refused(413, f"at most {MOST_BYTES >> 20} MiB can be sent")
    until = time.monotonic() + MOST_SECONDS
    size, whole = 0, False

    async def receiving() -> Message:
        nonlocal size, whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0.001, until - time.monotonic()))
        except asyncio.TimeoutError:
            raise Refused(408, "this was sent too slowly") from None
        size += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if size > MOST_BYTES:
            raise Refused(413, f"at most {MOST_BYTES >> 20} MiB can be sent")
        return message

    return receiving


async def _answer(send: Send, refused: Refused) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if refused.status_code == 401:
        headers.append((b"www-authenticate", b'Basic realm="rwkv-music"'))
    await send({"type": "http.response.start", "status": refused.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": f"{refused.detail}\n".encode()})
