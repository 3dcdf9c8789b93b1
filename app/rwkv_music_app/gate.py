"""What every request goes through before anything else sees it: who it is, whether it may, how much, how fast."""

import asyncio
import base64
import hmac
import ipaddress
import json
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "rwkv_music"
# What programs say instead of a cookie.
KEY = "x-rwkv-music-owner"
OWNER = re.compile(r"[0-9a-f]{64}")
# Digits that differ in any random one; fewer are somebody's idea of a key.
DIGITS = 8
A_YEAR = 365 * 24 * 3600
# Of what is sent to us, and seconds that sending may take.
MOST_BYTES = 6 << 20
MOST_SECONDS = 30.0
# The same of a session file, which the states make large.
STATES = (64 << 20, 120.0)
# Requests that change something or cost something: so many at once from one address, and so many a second after that.
BURST, RATE = 60.0, 12.0
MOST_CLIENTS = 10_000
# In paths of what is engraved, played or written before it is sent.
DEAR = ("/take/", "/shared/", "/session/")
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

    def __init__(self, app: Asgi, *, auth: tuple[str, str] | None = None, local: bool = True, link: str = ""):
        """auth: user and password, asked for before anything else. local: only names of this machine are answered.

        link: a name that is answered too, to which everybody comes over https.
        """
        self._app = app
        self._auth = auth
        self._local = local
        self._link = link
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
            await self._app(scope, _measured(receive, headers, *_limits(scope)), sending)
        except Refused as refused:
            if not begun:
                await _answer(sending, refused, plain=not is_for_programs(scope["path"]))

    def _check(self, scope: Message, headers: dict[str, str]) -> None:
        """Raises Refused for who may not, for another site's page, and for too many requests."""
        host = headers.get("host", "")
        name = _name(host)
        if self._local and not is_local(name.strip("[]")) and not (self._link and name == self._link):
            raise Refused(403, "this studio answers on its own machine only")
        if self._auth is not None and not _is_known(headers.get("authorization", ""), self._auth):
            raise Refused(401, "who are you?")
        looks = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if looks and not is_dear(scope["path"]):
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
        """Whoever has neither cookie nor key gets one, with this request already; what tells their browser to keep it.

        Raises Refused for a key that is none.
        """
        key = _key(headers, self._auth is None) if is_for_programs(scope["path"]) else ""
        if not key and owner_in(headers.get("cookie", "")):
            return []
        told = f"{COOKIE}={key or secrets.token_hex(32)}"
        others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        scope["headers"] = [*others, (b"cookie", told.encode())]
        if key:
            return []
        secure = bool(self._link) and _name(headers.get("host", "")) == self._link
        rules = f"; Path=/; Max-Age={A_YEAR}; HttpOnly; SameSite=Lax{'; Secure' * secure}"
        return [(b"set-cookie", (told + rules).encode())]


def owner_in(cookie: str) -> str:
    """Whose a request is, by its cookie header; "" where it does not say."""
    for part in cookie.split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and OWNER.fullmatch(value):
            return value
    return ""


def is_local(host: str) -> bool:
    """Nobody can reach it from another machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_dear(path: str) -> bool:
    """Also looking at it costs something."""
    return any(part in path for part in DEAR) or is_for_programs(path)


def is_for_programs(path: str) -> bool:
    """The route is one that programs use, who say who they are by a key and read errors as JSON."""
    return path.startswith("/api/")


def owner_of(request: Request) -> str:
    """Whose a request is; the gate has seen to it that everybody is somebody. Raises Refused where there is no gate."""
    owner = owner_in(request.headers.get("cookie", ""))
    if not owner:
        raise Refused(401, "who are you?")
    return owner


def _key(headers: dict[str, str], bearer: bool) -> str:
    """The key of a program, "" where it has none; bearer: nobody uses that header for a password. Raises Refused."""
    key = headers.get(KEY, "")
    kind, _, token = headers.get("authorization", "").partition(" ")
    if not key and bearer and kind.lower() == "bearer":
        key = token.strip()
        if not key:
            raise Refused(401, "the bearer's token is missing")
    if key and not (OWNER.fullmatch(key) and len(set(key)) >= DIGITS):
        raise Refused(401, "the key is 64 random digits from 0 to 9 and a to f")
    return key


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d+$", "", host).lower()


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


def _limits(scope: Message) -> tuple[int, float]:
    """Bytes that may be sent, and seconds that it may take."""
    return STATES if (scope["method"], scope["path"]) == ("POST", "/api/v1/states") else (MOST_BYTES, MOST_SECONDS)


def _measured(receive: Receive, headers: dict[str, str], most: int, seconds: float) -> Receive:
    """What is sent to us, as far as it is neither too much nor too slow. Raises Refused."""
    told = headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > most:
        raise Refused(413, f"at most {most >> 20} MiB can be sent")
    until = time.monotonic() + seconds
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
        if size > most:
            raise Refused(413, f"at most {most >> 20} MiB can be sent")
        return message

    return receiving


async def _answer(send: Send, refused: Refused, plain: bool) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8" if plain else b"application/json")]
    if refused.status_code == 401:
        headers.append((b"www-authenticate", b'Basic realm="rwkv-music"'))
    await send({"type": "http.response.start", "status": refused.status_code, "headers": headers})
    body = f"{refused.detail}\n" if plain else json.dumps({"error": refused.detail})
    await send({"type": "http.response.body", "body": body.encode()})
