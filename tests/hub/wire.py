"""HTTP for the loopback Hub: requests, replies, scripted faults, and a server on a free port of this machine."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    base: str

    def json(self) -> Any:
        return json.loads(self.body or b"{}")

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    half: bool = False  # only half of the body is sent, then the connection is cut

    @staticmethod
    def of(value: object, status: int = 200, **headers: str) -> Reply:
        return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class RefusedError(Exception):
    """Ends a request with an error reply, as the Hub words them."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.reply = Reply(status, json.dumps({"error": message}).encode(), headers)


@dataclass(frozen=True)
class Fault:
    """Spoils one request of `method` whose path contains `part`.

    With a `status` the Hub answers that; without, the connection is cut. `applied` does the work first, so that only
    the reply is lost; `half` does it too, and sends half of the reply. `hang_s` is how long nothing at all is answered
    before. `meanwhile` happens just before the request is handled normally: somebody else's doing.
    """

    method: str
    part: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False
    half: bool = False
    hang_s: float = 0.0
    meanwhile: Callable[[], object] | None = None

    def spoils(self, request: Request) -> bool:
        """Whether this is a request of the kind it waits for."""
        return self.method == request.method and self.part in request.path


Answer = Callable[[Request], Reply | None]  # None cuts the connection


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True  # else headers and body travel 40 ms apart
    wbufsize = -1
    answer: Answer

    def handle_request(self) -> None:
        url = urlsplit(self.path)
        body = self._body()
        base = f"http://{self.headers['Host']}"
        headers = {key.lower(): value for key, value in self.headers.items()}
        reply = self.answer(Request(self.command, url.path, parse_qs(url.query), headers, body, base))
        if reply is not None:
            self._send(reply)
        if reply is None or reply.half:
            self.close_connection = True
            self.wfile.flush()
            with contextlib.suppress(OSError):  # the client may have left
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815 (named by http.server)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            body = self.rfile.read(size := int(self.headers.get("Content-Length") or 0))
            if len(body) < size:
                raise ConnectionResetError("the client left before it had sent all")
            return body
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.half else reply.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (named by http.server)
        """Whoever answers keeps a log of its own."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave, or be killed; anything else is told on stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def serve_http(answer: Answer) -> Iterator[str]:
    """Answer requests, each connection in a thread of its own; gives the address."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"answer": staticmethod(answer)}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
