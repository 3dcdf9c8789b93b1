"""The HTTP API from Python: a stream that breaks is asked for again, and goes on behind the event that came last."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from rwkv_music.errors import UserError
from rwkv_music_app.gate import KEY

ADDRESS = "http://127.0.0.1:8000"
# Seconds to be let in, and without a word; the API says every ten seconds that it is alive.
CONNECTING, SILENCE = 5.0, 30.0
# Further tries in a row that bring nothing new, and seconds before the first of them; each waits twice as long, up to the most.
TRIES, PAUSE, MOST_PAUSE = 10, 0.1, 4.0
# Not now, but perhaps later.
LATER = frozenset({408, 429, 500, 502, 503, 504})
# The piece still grows for a stream that was lost.
GROWING = 409


class RefusedError(UserError):
    """The API does not do it, and says why; or it cannot be reached, and `status` is 0."""

    def __init__(self, line: str, status: int = 0):
        super().__init__(line)
        self.status = status


@dataclass(frozen=True)
class Told:
    """One event of a stream: "begun", "token", "bar", "back", "done", "error", "end"; see docs/api.md for the data."""

    kind: str
    # Of the last event that has one; "" before.
    id: str
    data: dict[str, Any]


class Client:
    """One program's way to a server. Its pieces are those of its key, which nobody else should know.

    Whatever makes something comes with an idempotency key, so that it is done once, however often it had to be asked for.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        key: str = "",
        *,
        auth: tuple[str, str] | None = None,
        tries: int = TRIES,
        transport: httpx2.BaseTransport | None = None,
    ):
        """key: 64 random hexadecimal digits; "" draws them. auth: the server's user and password."""
        self.key = key or secrets.token_hex(32)
        self._tries = tries
        self._http = httpx2.Client(
            base_url=f"{address.rstrip('/')}/api/v1/",
            headers={KEY: self.key},
            auth=auth,
            timeout=httpx2.Timeout(SILENCE, connect=CONNECTING),
            transport=transport,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def begin(self, **wish: Any) -> dict[str, Any]:
        """A new piece, as `POST /pieces` takes and tells it. Raises RefusedError."""
        return self._asked("POST", "pieces", wish)

    def look(self, piece: str) -> dict[str, Any]:
        """A piece and the tree of its takes. Raises RefusedError."""
        return self._asked("GET", f"pieces/{piece}")

    def go_on(self, piece: str, **wish: Any) -> Iterator[Told]:
        """New takes of a piece, as `POST /pieces/{piece}/takes` takes them, while they grow; leaving it stops them.

        Raises RefusedError.
        """
        return self._stream(f"pieces/{piece}/takes", wish)

    def generate(self, piece: Mapping[str, Any] | None = None, **takes: Any) -> Iterator[Told]:
        """A new piece and its first takes, as `begin` and `go_on` take them. Raises RefusedError."""
        return self._stream("generate", {"piece": dict(piece or {}), "takes": takes})

    def _asked(self, method: str, path: str, wish: Mapping[str, Any] | None = None) -> dict[str, Any]:
        headers = {"idempotency-key": secrets.token_hex(16)}
        failures = _Failures(self._tries)
        while True:
            try:
                answer = self._http.request(method, path, json=wish, headers=headers)
                if answer.is_success:
                    return answer.json()
                failures.add(_refused(answer), LATER)
            except httpx2.TransportError as error:
                failures.add(_lost(error))

    def _stream(self, path: str, wish: Mapping[str, Any]) -> Iterator[Told]:
        headers = {"idempotency-key": secrets.token_hex(16)}
        failures = _Failures(self._tries)
        begun = False
        while True:
            try:
                for event in self._events(path, wish, headers):
                    if event.id:
                        failures.forget()
                        headers["last-event-id"] = event.id
                    if not (begun and event.kind == "begun"):
                        yield event
                    begun = True
                    if event.kind == "end":
                        return
                failures.add(RefusedError("the stream broke off"))
            except httpx2.TransportError as error:
                failures.add(_lost(error))
            except RefusedError as error:
                failures.add(error, LATER | {GROWING} if begun else LATER)

    def _events(self, path: str, wish: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[Told]:
        with self._http.stream("POST", path, json=wish, headers=dict(headers)) as answer:
            if not answer.is_success:
                answer.read()
                raise _refused(answer)
            for event in httpx2.EventSource(answer):
                yield Told(event.event, event.id, json.loads(event.data))


class _Failures:
    """Of a request, in a row."""

    def __init__(self, most: int):
        self._most = most
        self._count = 0

    def forget(self) -> None:
        """Something came."""
        self._count = 0

    def add(self, error: RefusedError, later: frozenset[int] = LATER) -> None:
        """Wait a little, for the next try. Raises the error where there is none, or it cannot help."""
        if self._count >= self._most or error.status not in {0, *later}:
            raise error
        time.sleep(min(MOST_PAUSE, PAUSE * 2**self._count))
        self._count += 1


def _refused(answer: httpx2.Response) -> RefusedError:
    try:
        line = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        line = answer.text.strip()
    return RefusedError(line[:400] or f"HTTP {answer.status_code}", answer.status_code)


def _lost(error: httpx2.TransportError) -> RefusedError:
    return RefusedError(f"the server cannot be reached: {error or type(error).__name__}")
