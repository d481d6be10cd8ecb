"""A line to a real n8n that can be cut, and on which single calls can be refused: for workers in other processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

#: What belongs to one hop of a connection.
HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
#: A method and a path, and the name of the workflow that it is about, where it was created on this line.
Chooses = Callable[[str, str, str], bool]


class Wire:
    """Passes calls on to one n8n. Use as a context manager."""

    def __init__(self, target: str) -> None:
        self.target = httpx.URL(target)
        self.names: dict[str, str] = {}
        self.calls: list[str] = []
        self._refuses: Chooses = lambda _method, _path, _name: False
        self._is_cut = threading.Event()
        self._open: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Wire:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def refuse(self, chooses: Chooses) -> None:
        """Answer these calls with a 400 and do not pass them on."""
        self._refuses = chooses

    def cut(self) -> None:
        """Break every connection in the middle of whatever it carries, and each new one at its first call."""
        self._is_cut.set()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """All passes again, and nothing is refused any more."""
        self._is_cut.clear()
        self.refuse(lambda _method, _path, _name: False)

    @contextlib.contextmanager
    def cut_for(self, seconds: float) -> Iterator[None]:
        """Cut now, and mended after so long, whatever happens meanwhile."""
        self.cut()
        timer = threading.Timer(seconds, self.mend)
        timer.start()
        try:
            yield
        finally:
            timer.join()

    def _about(self, path: str) -> str:
        return next((self.names[part] for part in path.split("?")[0].split("/") if part in self.names), "")

    def _learn(self, method: str, path: str, answer: bytes) -> None:
        if method == "POST" and path.split("?")[0].endswith("/workflows"):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                made = json.loads(answer)
                self.names[made["id"]] = made["name"]

    def _handler(wire) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                wire._open.add(self.connection)
                self.onward = http.client.HTTPConnection(wire.target.host, wire.target.port or 80, timeout=120)

            def finish(self) -> None:
                wire._open.discard(self.connection)
                self.onward.close()
                with contextlib.suppress(OSError):
                    super().finish()

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                self.close_connection = wire._is_cut.is_set()
                if self.close_connection:
                    return
                wire.calls.append(f"{self.command} {self.path}")
                if wire._refuses(self.command, self.path, wire._about(self.path)):
                    self.reply(400, [("content-type", "application/json")], b'{"message": "refused by the test"}')
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                try:
                    self.onward.request(self.command, self.path, body or None, headers)
                    answer = self.onward.getresponse()
                    found = answer.read()
                except (OSError, http.client.HTTPException):
                    self.onward.close()
                    self.close_connection = True
                    return
                wire._learn(self.command, self.path, found)
                self.reply(answer.status, answer.getheaders(), found)

            def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                if wire._is_cut.is_set():
                    self.close_connection = True
                    return
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = pass_on

            def log_message(self, *_args: object) -> None:
                """Tests print enough."""

        return Handler
