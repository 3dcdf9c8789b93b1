"""One person at a studio, as a program over HTTP that does anything at random, and notices what must not be."""

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

FORMS = ("abc", "mid", "musicxml", "svg", "pdf", "wav")
TUNE = "X:1\nT:{title}\nM:6/8\nL:1/8\nK:G\nGAB c2d|ecA GED|"
# Pieces that one person has at a time, and takes of one before another is begun instead.
MOST_PIECES = 12
MOST_TAKES = 40
# Seconds that anything may take; and to wait after too many requests.
PATIENCE = 180.0
BACK_OFF = 1.0
JSON = {"content-type": "application/json"}
# What nobody may ask for: method, path and what else is sent. All of it is refused, and nothing of it is a fault.
NONSENSE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/pieces", {"content": "{", "headers": JSON}),
    ("POST", "/pieces", {"json": {"abc": "X:1\nK:G\nGAB(|[[[", "tune": 1}}),
    ("POST", "/pieces", {"json": {"file": "no base64 %%%", "name": "a.mid"}}),
    ("POST", "/pieces", {"json": {"file": "TVRoZAAAAAY=", "name": "a.mid"}}),
    ("POST", "/pieces", {"json": {"key": "H" * 300}}),
    ("POST", "/pieces", {"json": {"style": "../../etc/passwd"}}),
    ("POST", "/generate", {"json": {"takes": {"bars": -1}}}),
    ("POST", "/generate", {"json": {"takes": {"takes": 1000}}}),
    ("POST", "/generate", {"json": {"takes": {"temperature": "hot"}}}),
    ("POST", "/generate", {"json": {"piece": {"model": "/etc/passwd"}}}),
    ("POST", "/generate", {"json": {}, "headers": {"last-event-id": "7"}}),
    ("POST", "/states", {"content": b"not a session file", "headers": {"content-type": "application/octet-stream"}}),
    ("POST", "/states", {"content": b"\xff" * 4096}),
    ("GET", "/pieces/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}),
    ("GET", "/pieces/" + "0" * 64, {}),
    ("GET", "/pieces/" + "0" * 3000, {}),
    ("DELETE", "/pieces", {}),
    ("PUT", "/health", {}),
    ("GET", "/nothing", {}),
    ("GET", "/pieces", {"headers": {"x-rwkv-music-owner": "a" * 64}}),
)


class Busy(Exception):
    """An answer that says: not now."""


@dataclass
class Crowd:
    """What all of them have seen, in lists, to which any thread may append."""

    troubles: list[str] = field(default_factory=list)
    # Seconds.
    first_tokens: list[float] = field(default_factory=list)
    first_notes: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    # What was done, and answers by their status.
    done: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def streams(self) -> int:
        """Streams in which a token came."""
        return len(self.first_tokens)


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    id: str
    kind: str
    data: dict[str, Any]


class Person:
    """Somebody with a key of their own; `pieces` are theirs, by what they called them."""

    def __init__(self, address: str, crowd: Crowd, number: int):
        self.name = f"Person {number:04}"
        self.pieces: dict[str, str] = {}
        self._address = address
        self._crowd = crowd
        self._dice = random.Random(number)
        self._count = 0
        # Limits are by address: everybody comes from another one.
        transport = httpx.HTTPTransport(local_address=f"127.0.{1 + number // 250}.{1 + number % 250}")
        self._client = httpx.Client(
            base_url=address + "/api/v1",
            headers={"x-rwkv-music-owner": secrets.token_hex(32)},
            transport=transport,
            timeout=PATIENCE,
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def warm_up(self) -> None:
        """Both models are read."""
        for wish in ({"abc": TUNE.format(title="Warm")}, {"instruments": "violin,cello"}):
            self._client.post("/generate?stream=false", json={"piece": wish, "takes": {"bars": 1}}).raise_for_status()
        for piece in self._client.get("/pieces").json():
            self._client.delete(f"/pieces/{piece['piece']}")

    def short_take(self) -> None:
        """A new piece of two bars."""
        self._guarded(lambda: self._ask("POST", "/generate?stream=false", json=self._wish(bars=2)))

    def evening(self, until: float, others: "list[Person]") -> None:
        """Anything at random until the time is over. others: everybody, whose pieces are looked for."""
        acts: dict[str, tuple[int, Callable[[], None]]] = {
            "begin": (2, self._begin),
            "generate": (2, self._generate),
            "watch": (10, self._watch),
            "another way": (4, self._another_way),
            "stop": (6, self._stop),
            "drop": (3, self._drop),
            "resume": (4, self._resume),
            "file": (6, self._file),
            "state": (2, self._state),
            "share": (2, self._share),
            "list": (2, self._list),
            "forget": (1, self._forget),
            "peep": (4, lambda: self._peep(self._dice.choice(others))),
            "nonsense": (4, self._nonsense),
        }
        names, weights = list(acts), [weight for weight, _ in acts.values()]
        while time.monotonic() < until:
            name = self._dice.choices(names, weights)[0] if self.pieces else "begin"
            self._crowd.done.append(name)
            self._guarded(acts[name][1], name)

    def _guarded(self, act: Callable[[], Any], name: str = "") -> None:
        try:
            act()
        except Busy:
            pass
        except (httpx.HTTPError, ValueError, LookupError, StopIteration) as error:
            self._trouble(f"{name}: {type(error).__name__}: {error}")

    def _trouble(self, line: str) -> None:
        self._crowd.troubles.append(f"{time.strftime('%H:%M:%S')} {self.name}: {line}")

    def _ask(self, method: str, path: str, *also: int, **sent: Any) -> httpx.Response:
        """An answer of 200 to 299 or one of `also`; whatever else is noted. Raises Busy where there is none."""
        while True:
            answer = self._client.request(method, path, **sent)
            self._crowd.answers.append(answer.status_code)
            if answer.status_code != 429:
                break
            time.sleep(BACK_OFF)
        self._look_at(answer, f"{method} {path}", *also)
        return answer

    def _look_at(self, answer: httpx.Response, what: str, *also: int) -> None:
        if answer.is_success or answer.status_code in also:
            return
        if answer.status_code != 409:
            self._trouble(f"{what}: {answer.status_code} {answer.read()[:200]!r}")
        raise Busy

    def _title(self) -> str:
        self._count += 1
        return f"{self.name} no {self._count}"

    def _wish(self, **takes: Any) -> dict[str, Any]:
        title = self._title()
        beginnings = (
            {"abc": TUNE.format(title=title)},
            {"rhythm": "jig", "key": "D", "title": title},
            {"instruments": "violin,cello", "title": title},
        )
        return {"piece": self._dice.choices(beginnings, (5, 4, 1))[0], "takes": takes}

    def _how(self) -> dict[str, int]:
        return {"bars": self._dice.randint(1, 8), "takes": self._dice.choice((1, 1, 2, 3))}

    def _piece(self) -> tuple[str, str, list[dict[str, Any]]]:
        """One of one's pieces: its name, its title, its takes."""
        piece, title = self._dice.choice(list(self.pieces.items()))
        tree = self._ask("GET", f"/pieces/{piece}").json()
        if tree["title"] != title or tree["piece"] != piece:
            self._trouble(f"{title} is called {tree['title']}")
        if len(tree["takes"]) > MOST_TAKES:
            self._ask("DELETE", f"/pieces/{piece}")
            del self.pieces[piece]
            raise Busy
        return piece, title, tree["takes"]

    def _begin(self) -> None:
        if len(self.pieces) >= MOST_PIECES:
            return self._forget()
        wish = self._wish()["piece"]
        told = self._ask("POST", "/pieces", json=wish).json()
        self._mine(told["piece"], self._title_of(wish), told["title"])

    def _generate(self) -> None:
        if len(self.pieces) >= MOST_PIECES:
            return self._forget()
        wish = self._wish(**self._how())
        with self._stream("/generate", wish) as events:
            begun = next(events)
            self._mine(begun.data["piece"], self._title_of(wish["piece"]))
            self._to_the_end(events, begun)

    def _title_of(self, wish: dict[str, str]) -> str:
        return wish.get("title") or wish["abc"].splitlines()[1][2:]

    def _mine(self, piece: str, title: str, told: str | None = None) -> None:
        if told is not None and told != title:
            self._trouble(f"{title} is called {told}")
        self.pieces[piece] = title

    def _watch(self) -> None:
        piece, _, takes = self._piece()
        wish = {**self._how(), "take": self._dice.choice(takes)["take"]}
        with self._stream(f"/pieces/{piece}/takes", wish) as events:
            self._to_the_end(events, next(events))

    def _another_way(self) -> None:
        piece, _, takes = self._piece()
        if len(takes) > 1:
            wish = {**self._how(), "instead_of": self._dice.choice(takes[1:])["take"]}
            with self._stream(f"/pieces/{piece}/takes", wish) as events:
                self._to_the_end(events, next(events))

    def _stop(self) -> None:
        piece, _, _ = self._piece()
        with self._stream(f"/pieces/{piece}/takes", {"bars": 256, "takes": self._dice.choice((1, 1, 2))}) as events:
            begun = next(events)
            for _ in range(self._dice.randint(1, 60)):
                if next(events).kind == "end":
                    return
            asked = time.monotonic()
            tree = self._ask("POST", f"/pieces/{piece}/cancel").json()
            self._crowd.stops.append(time.monotonic() - asked)
            if tree["growing"]:
                self._trouble(f"takes {tree['growing']} grow after Stop")
            self._to_the_end(events, begun)

    def _drop(self) -> None:
        piece, _, _ = self._piece()
        with self._stream(f"/pieces/{piece}/takes", {"bars": 256, "takes": self._dice.choice((1, 2))}) as events:
            for _ in range(self._dice.randint(1, 40)):
                if next(events).kind == "end":
                    return

    def _resume(self) -> None:
        """A stream is lost and asked for again: the rest follows on what one had, and the whole is the same."""
        piece, _, takes = self._piece()
        wish = {"bars": self._dice.randint(2, 8), "take": self._dice.choice(takes)["take"]}
        headers = {"idempotency-key": secrets.token_hex(8)}
        path, had = f"/pieces/{piece}/takes", []
        with self._stream(path, wish, headers) as events:
            for _ in range(self._dice.randint(2, 40)):
                had.append(next(events))
                if had[-1].kind == "end":
                    return
        last = had[-1].id
        with self._stream(path, wish, {**headers, **({"last-event-id": last} if last else {})}, timed=False) as events:
            rest = self._to_the_end(events, next(events))
        with self._stream(path, wish, headers, timed=False) as events:
            whole = self._to_the_end(events, next(events))
        told = [one for one in (*had, *rest) if one.id]
        if told != [one for one in whole if one.id]:
            self._trouble(f"a stream that was lost after {last} went on otherwise")

    def _file(self) -> None:
        piece, title, takes = self._piece()
        form, take = self._dice.choice(FORMS), self._dice.choice(takes)
        # Nothing was made yet, or what was stopped is no music yet.
        answer = self._ask("GET", f"/pieces/{piece}/takes/{take['take']}.{form}", 422)
        if answer.is_success and form in ("abc", "musicxml") and title not in answer.text:
            self._trouble(f"a {form} file of {title} does not say so")

    def _state(self) -> None:
        piece, title, takes = self._piece()
        growing = self._ask("GET", f"/pieces/{piece}").json()["growing"]
        state = self._ask("GET", f"/pieces/{piece}/state").content
        if len(self.pieces) < MOST_PIECES:
            told = self._ask("POST", "/states", content=state).json()
            self._mine(told["piece"], title, told["title"])
            # What is still being stopped is not in it.
            if not len(takes) - len(growing) <= len(told["takes"]) <= len(takes):
                self._trouble(f"a state of {len(takes)} takes came back with {len(told['takes'])}")

    def _share(self) -> None:
        piece, title, takes = self._piece()
        path = f"/pieces/{piece}/takes/{self._dice.choice(takes)['take']}/share"
        address = self._address + self._ask("POST", path).json()["address"]
        # Somebody without a key.
        answer = httpx.get(address, timeout=PATIENCE)
        if answer.status_code not in (200, 422, 429) or (answer.is_success and title not in answer.text):
            self._trouble(f"a link to {title}: {answer.status_code} {answer.text[:100]!r}")
        self._ask("DELETE", path)
        if httpx.get(address, timeout=PATIENCE).status_code not in (404, 429):
            self._trouble("a link that was taken back leads somewhere")

    def _list(self) -> None:
        told = {one["piece"]: one["title"] for one in self._ask("GET", "/pieces").json()}
        if told != self.pieces:
            self._trouble(f"the list is not mine: {set(told.items()) ^ set(self.pieces.items())}")

    def _forget(self) -> None:
        piece = self._dice.choice(list(self.pieces))
        self._ask("DELETE", f"/pieces/{piece}")
        del self.pieces[piece]
        self._ask("GET", f"/pieces/{piece}", 404)

    def _peep(self, other: "Person") -> None:
        """Somebody else's piece must be as one that never was."""
        pieces = list(other.pieces) if other is not self else []
        if not pieces:
            return
        at = f"/pieces/{self._dice.choice(pieces)}"
        method, path, sent = self._dice.choice(
            (
                ("GET", at, {}),
                ("DELETE", at, {}),
                ("POST", at + "/cancel", {}),
                ("POST", at + "/takes", {"json": {"bars": 1}}),
                ("GET", at + "/takes/0.abc", {}),
                ("GET", at + "/state", {}),
                ("POST", at + "/takes/0/share", {}),
            )
        )
        answer = self._ask(method, path, 404, **sent)
        if answer.status_code != 404:
            self._trouble(f"{method} of a piece of {other.name}: {answer.status_code}")

    def _nonsense(self) -> None:
        method, path, sent = self._dice.choice(NONSENSE)
        answer = self._ask(method, path, *range(400, 500), **sent)
        if answer.is_success:
            self._trouble(f"nonsense was granted: {method} {path[:80]}")

    def _stream(self, path: str, wish: Any, headers: dict[str, str] | None = None, timed: bool = True) -> "Stream":
        return Stream(self, path, wish, headers or {}, timed)

    def _to_the_end(self, events: Iterator[Event], begun: Event) -> list[Event]:
        """What else comes. It is a trouble where a take is not told to be done, or the end is missing."""
        rest = list(events)
        done = [one.data["take"] for one in rest if one.kind == "done"]
        errors = [one.data for one in rest if one.kind == "error"]
        if not rest or rest[-1].kind != "end":
            self._trouble(f"a stream was cut after {len(rest)} events")
        elif len(set(done)) > len(begun.data["takes"]) or any(take not in begun.data["takes"] for take in done):
            self._trouble(f"takes {begun.data['takes']} were begun and {done} are done")
        for error in errors:
            self._trouble(f"an error in a stream: {error}")
        return rest


class Stream:
    """The events of a request, for a with statement, whose end hangs up."""

    def __init__(self, person: Person, path: str, wish: Any, headers: dict[str, str], timed: bool):
        self._person, self._timed = person, timed
        self._request = person._client.build_request("POST", path, json=wish, headers=headers)

    def __enter__(self) -> Iterator[Event]:
        self._begun = time.monotonic()
        person, crowd = self._person, self._person._crowd
        while True:
            self._answer = person._client.send(self._request, stream=True)
            crowd.answers.append(self._answer.status_code)
            if self._answer.status_code != 429:
                break
            self._answer.close()
            time.sleep(BACK_OFF)
            self._begun = time.monotonic()
        try:
            person._look_at(self._answer, f"POST {self._request.url.path}")
        except Busy:
            self._answer.close()
            raise
        return self._events(crowd)

    def __exit__(self, *_: object) -> None:
        self._answer.close()

    def _events(self, crowd: Crowd) -> Iterator[Event]:
        """One after the other; the first token and the first note are timed."""
        tokens, notes = (crowd.first_tokens, crowd.first_notes) if self._timed else ([], [])
        number = kind = ""
        heard = sounded = False
        for line in self._answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                number = value
            elif name == "event":
                kind = value
            elif name == "data":
                data = json.loads(value)
                if kind == "token" and not heard:
                    heard = True
                    tokens.append(time.monotonic() - self._begun)
                if not sounded and data.get("notes", {}).get("new"):
                    sounded = True
                    notes.append(time.monotonic() - self._begun)
                yield Event(number, kind, data)
                number = ""
