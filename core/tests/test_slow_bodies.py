"""Who sends slowly keeps nobody waiting: Django behind a real server, and clients on raw sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from django.core.asgi import get_asgi_application

from core import pacing

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v1/snapshots"
SECONDS = 10


class Client:
    """One connection that sends what it is told to, and no more."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)

    def send(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode() + body)

    def begins_to_send(self, *headers: str) -> Client:
        """Announce a body, wait until the server asks for it, and send a part of it."""
        self.send("POST", PATH, "Content-Length: 40", "Expect: 100-continue", *headers)
        assert self.socket.recv(4096).startswith(b"HTTP/1.1 100")
        self.socket.sendall(b"{")
        return self

    def answer(self) -> tuple[int, Any]:
        with self.socket:
            whole = b"".join(iter(lambda: self.socket.recv(65536), b""))
        head, _, body = whole.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)["error"]["code"] if body.startswith(b"{") else body


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The console behind the web server that it has in production; the port."""
    config = uvicorn.Config(pacing.Paced(get_asgi_application()), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


@pytest.fixture(autouse=True)
def paced(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REQUESTS_PER_SECOND, settings.REQUESTS_AT_ONCE = 100, 1000
    monkeypatch.setattr(pacing, "WORKING_AT_ONCE", 1)
    monkeypatch.setattr(pacing, "ADDRESS_FACTOR", 2)


def test_slow_bodies_hold_no_turn_that_others_need() -> None:
    with served() as port:
        slow = [Client(port).begins_to_send() for _ in range(4)]
        other = Client(port)
        other.send("POST", PATH, "Content-Length: 2", body=b"{}")
        assert other.answer() == (401, "UNAUTHORIZED")
        for one in slow:
            one.socket.sendall(b" " * 38 + b"}")
            assert one.answer() == (401, "UNAUTHORIZED")


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "ARRIVES_WITHIN_SECONDS", 0.05)
    with served() as port:
        assert Client(port).begins_to_send().answer() == (408, "TOO_SLOW")


def test_of_too_many_the_one_that_takes_longest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "ARRIVING_AT_ONCE", 1)
    with served() as port:
        first, second, third = (Client(port).begins_to_send() for _ in range(3))
        assert first.answer() == (408, "TOO_SLOW")
        for one in (second, third):
            one.socket.sendall(b" " * 38 + b"}")
            assert one.answer() == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("how", ["Content-Length: 99999999", "Transfer-Encoding: chunked"])
def test_more_than_is_taken_is_refused_before_it_is_kept(how: str, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    with served() as port:
        client = Client(port)
        client.send("POST", PATH, how, body=b"c8\r\n" + b"x" * 200 + b"\r\n")
        assert client.answer() == (413, "TOO_LARGE")


def test_who_goes_away_meanwhile_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    doors: list[pacing.Paced] = []
    monkeypatch.setattr(pacing, "Paced", type("Noted", (pacing.Paced,), {"__init__": _noted(doors)}))
    with served() as port:
        for _ in range(3):
            Client(port).begins_to_send().socket.close()
        last = Client(port)
        last.send("POST", PATH, "Content-Length: 2", body=b"{}")
        assert last.answer() == (401, "UNAUTHORIZED")
    assert len(doors[0]._bodies_of_address) == 0


def _noted(doors: list[pacing.Paced]) -> Any:
    real = pacing.Paced.__init__

    def made(self: pacing.Paced, app: Any) -> None:
        doors.append(self)
        real(self, app)

    return made
