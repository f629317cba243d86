"""A real HTTP server that answers what a test says, in order, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """One answer; without a status the connection is closed without any."""

    status: int | None = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    events: list[object] | None = None
    raw: bytes | None = None


def problem(status: int, name: str, headers: dict[str, str] | None = None) -> Answer:
    body = {
        "name": name,
        "title": "No",
        "status": status,
        "detail": "Do this.",
        "instance": "req_1",
        "type": "x",
    }
    return Answer(status, body, headers or {})


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    # What a WebSocket is refused with, too.
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        read = self.rfile.read(length)
        is_json = self.headers.get("content-type", "") == "application/json"
        body = json.loads(read) if length and is_json else read or None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append(Asked(self.command, self.path, headers, body))
        answer = self.server.answers.pop(0)
        self.close_connection = True
        if answer.status is None:
            return
        sent = json.dumps(answer.body).encode()
        if answer.events is not None:
            sent = b": ping\n\n" + b"".join(
                b"event: session\ndata: " + json.dumps(event).encode() + b"\n\n" for event in answer.events
            )
        if answer.raw is not None:
            sent = answer.raw
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    do_PUT = do_GET = do_POST = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """The test says what matters."""


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    server = Server()
    server.answers = list(answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
