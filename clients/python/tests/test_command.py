"""Commands in a job, against a real WebSocket server."""

from __future__ import annotations

import asyncio
import itertools
import queue
import socket as sockets
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from nearlight import (
    Client,
    CommandError,
    CommandTimeoutError,
    ConfigError,
    ForeignAnswerError,
    ProblemError,
    Session,
    UnreachableError,
)
from nearlight.command import _close, _opened, run
from server import Answer, problem, serving

PROTOCOLS = ["nearlight.exec.v1", "nearlight.ticket.abc"]
CREATED = {
    "ticket": "abc",
    "path": "/v1/sessions/ses_1/exec",
    "protocol": "nearlight.exec.v1",
    "expires_at": 1,
}
VIEW = {"id": "ses_1", "title": "a", "state": {"phase": "ready"}, "labels": {}}
Handler = Callable[[ServerConnection], None]


@contextmanager
def node(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that is one command for each WebSocket."""
    with serve(handler, "127.0.0.1", 0, subprotocols=[Subprotocol(PROTOCOLS[0])], ssl=tls) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1/sessions/ses_1/exec"
        finally:
            server.shutdown()
            thread.join()


def ended(status: int) -> bytes:
    return b"\x06" + status.to_bytes(4, "big")


def heard(socket: ServerConnection) -> Iterator[bytes]:
    """Its input, message by message, to the end of it."""
    for message in socket:
        assert isinstance(message, bytes)
        if message == b"\x01":
            return
        assert message[0] == 0
        yield message[1:]


def test_a_command_has_its_input_and_gives_its_output_and_status() -> None:
    seen: list[int] = []

    def command(socket: ServerConnection) -> None:
        assert socket.subprotocol == PROTOCOLS[0]
        socket.send(b"\x08")
        for piece in heard(socket):
            seen.append(len(piece))
            socket.send(b"\x02" + piece)
        socket.send(b"\x63of a newer broker")
        socket.send(b"\x03words")
        socket.send(ended(7))

    given = bytes(range(256)) * 500
    with node(command) as url:
        assert run(url, PROTOCOLS, given, None, 1 << 20) == (7, given, b"words")
        assert run(url, PROTOCOLS, iter([b"a", b"", b"b"]), None, 1 << 20) == (7, b"ab", b"words")
    assert max(seen) < 64 * 1024


def test_much_goes_both_ways_at_once() -> None:
    def command(socket: ServerConnection) -> None:
        for piece in heard(socket):
            socket.send(b"\x02" + piece)
        socket.send(ended(0))

    # More than all buffers on the way hold.
    given = bytes(64 << 20)
    with node(command) as url:
        assert run(url, PROTOCOLS, given, None, len(given)) == (0, given, b"")


def test_a_command_that_ends_before_its_input_has_its_status() -> None:
    def command(socket: ServerConnection) -> None:
        socket.send(b"\x02" + next(heard(socket)))
        socket.send(ended(5))

    with node(command) as url:
        assert run(url, PROTOCOLS, itertools.repeat(bytes(9)), None, 100) == (5, bytes(9), b"")


def test_what_came_before_the_end_is_heard_after_it() -> None:
    over = threading.Event()

    def command(socket: ServerConnection) -> None:
        for message in (b"\x02one", b"\x02two", ended(5)):
            socket.send(message)
        socket.close()
        over.set()

    failed = threading.Event()

    class Asks:
        def __iter__(self) -> Iterator[bytes]:
            over.wait()
            try:
                # Nobody is there any more.
                yield b"more"
            finally:
                failed.set()

    pieces: list[bytes] = []

    def take(_stream: str, piece: bytes) -> None:
        failed.wait()
        pieces.append(piece)

    with node(command) as url:
        assert run(url, PROTOCOLS, Asks(), take, 1).status == 5
    assert pieces == [b"one", b"two"]


def test_data_that_is_held_back_is_no_silence() -> None:
    async def asked(url: str) -> tuple[object, int]:
        opened = await _opened(url, PROTOCOLS, None, None)
        plain = opened.transport.get_extra_info("socket")
        try:
            return opened.ping_interval, plain.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE)
        finally:
            await _close(opened)

    with node(lambda socket: socket.send(b"\x08")) as url:
        pinged, kept = asyncio.run(asked(url))
    assert pinged is None
    assert kept != 0


def test_tls_is_that_of_the_requests(tmp_path: Path) -> None:
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
        *subject,
    ]
    subprocess.run(made, check=True, capture_output=True)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(cert, key)
    with (
        node(lambda socket: socket.send(ended(0)), own) as url,
        Client("https://localhost", "nlk_test") as client,
    ):
        url = url.replace("ws://127.0.0.1", "wss://localhost")
        with pytest.raises(UnreachableError, match="certificate"):
            run(url, PROTOCOLS, None, None, 1, client._http.tls)
        client._http.tls.load_verify_locations(cert)
        assert run(url, PROTOCOLS, None, None, 1, client._http.tls).status == 0


def test_output_is_given_as_it_comes_and_input_is_taken_as_it_comes() -> None:
    def command(socket: ServerConnection) -> None:
        for piece in heard(socket):
            socket.send(b"\x02" + piece.upper())
        socket.send(ended(0))

    answers: queue.Queue[bytes] = queue.Queue()

    def asks() -> Iterator[bytes]:
        yield b"one"
        # The next is only said once the former was answered.
        assert answers.get() == b"ONE"
        yield b"two"
        assert answers.get() == b"TWO"

    with node(command) as url:
        ran = run(url, PROTOCOLS, asks(), lambda stream, piece: answers.put(piece), 1)
    assert ran == (0, b"", b"")


def flood(over: threading.Event) -> Handler:
    def command(socket: ServerConnection) -> None:
        try:
            while True:
                socket.send(b"\x02" + bytes(60_000))
        except ConnectionClosed:
            over.set()

    return command


def test_more_output_than_was_asked_for_ends_the_command() -> None:
    over = threading.Event()
    with node(flood(over)) as url:
        with pytest.raises(CommandError, match=r"more than 100000 bytes.*`on_output`"):
            run(url, PROTOCOLS, None, None, 100_000)
        assert over.wait(60)


def test_what_a_callback_raises_ends_the_command() -> None:
    def stop(_stream: str, _piece: bytes) -> None:
        raise KeyError("enough")

    over = threading.Event()
    with node(flood(over)) as url:
        with pytest.raises(KeyError, match="enough"):
            run(url, PROTOCOLS, None, stop, 1)
        assert over.wait(60)


@pytest.mark.parametrize("timeout_s", [None, 600.0])
def test_a_callback_that_times_out_is_no_command_that_does(timeout_s: float | None) -> None:
    def stop(_stream: str, _piece: bytes) -> None:
        raise TimeoutError("the disk is slow")

    over = threading.Event()
    with node(flood(over)) as url:
        with pytest.raises(TimeoutError, match="the disk is slow"):
            run(url, PROTOCOLS, None, stop, 1, timeout_s=timeout_s)
        assert over.wait(60)


def test_a_broker_that_hangs_takes_no_longer_than_its_caller_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearlight.command.OPEN_S", 600.0)
    with sockets.create_server(("127.0.0.1", 0)) as hangs:
        url = f"ws://127.0.0.1:{hangs.getsockname()[1]}/"
        with pytest.raises(CommandTimeoutError, match=r"within 0\.2 s"):
            run(url, PROTOCOLS, None, None, 1, timeout_s=0.2)


def test_a_command_that_does_not_end_in_time_is_ended_whether_it_reads_or_not() -> None:
    overs: list[threading.Event] = []
    read_on = threading.Event()

    def command(socket: ServerConnection) -> None:
        over = threading.Event()
        overs.append(over)
        if len(overs) > 1:
            read_on.wait()
        with suppress(ConnectionClosed):
            while True:
                socket.recv()
        over.set()

    with node(command) as url:
        for stdin in (None, itertools.repeat(bytes(1 << 20))):
            with pytest.raises(CommandTimeoutError, match=r"within 0\.2 s, and was told to"):
                run(url, PROTOCOLS, stdin, None, 1, timeout_s=0.2)
        read_on.set()
        for over in overs:
            assert over.wait(60)
    assert issubclass(CommandTimeoutError, TimeoutError)
    with node(lambda socket: socket.send(ended(0))) as url:
        assert run(url, PROTOCOLS, None, None, 1, timeout_s=60.0).status == 0


def test_input_that_fails_is_no_end_of_input() -> None:
    ends: list[str] = []
    over = threading.Event()

    def command(socket: ServerConnection) -> None:
        try:
            for message in socket:
                ends.append(f"kind {message[0]!r}")
        except ConnectionClosed:
            pass
        over.set()

    def asks() -> Iterator[bytes]:
        yield b"one"
        raise OSError("the disk is gone")

    with node(command) as url:
        with pytest.raises(OSError, match="the disk is gone"):
            run(url, PROTOCOLS, asks(), None, 1)
        over.wait()
    assert ends == ["kind 0"]


@pytest.mark.parametrize(
    ("last", "why"), [(b"\x07no such program", "no such program"), (b"\x02some", "broke off")]
)
def test_a_command_without_a_status_says_why(last: bytes, why: str) -> None:
    with node(lambda socket: socket.send(last)) as url, pytest.raises(CommandError, match=why):
        run(url, PROTOCOLS, None, None, 100)


def test_a_session_asks_for_a_ticket_and_a_refusal_has_the_brokers_words() -> None:
    # The second is refused where its WebSocket is opened, and the last one meets no broker any more.
    refusals = [
        problem(409, "job-not-ready"),
        Answer(201, CREATED),
        problem(401, "ticket-invalid"),
        Answer(201, CREATED),
    ]
    with serving(*refusals) as server, Client(server.url, "nlk_test") as client:
        session = Session(client._http, _view())
        for name in ("job-not-ready", "ticket-invalid"):
            with pytest.raises(ProblemError, match=r"No: Do this\.") as refused:
                session.exec(["sh", "-c", "true"], tty=True, size=(80, 24), replica=1)
            assert refused.value.name == name
        server.answers.append(Answer(None))
        with pytest.raises(UnreachableError, match="cannot open the command's WebSocket"):
            session.exec(["true"], stdin=b"")
    order, _, socket, plain, _ = server.asked
    assert order.path == "/v1/sessions/ses_1/exec?replica=1"
    assert order.body == {
        "command": ["sh", "-c", "true"],
        "tty": True,
        "stdin": False,
        "size": {"cols": 80, "rows": 24},
    }
    assert (socket.method, socket.path) == ("GET", CREATED["path"])
    assert socket.headers["sec-websocket-protocol"] == "nearlight.exec.v1, nearlight.ticket.abc"
    assert "authorization" not in socket.headers
    assert plain.body == {"command": ["true"], "tty": False, "stdin": True}


def test_a_ticket_follows_nobody() -> None:
    with serving(Answer(201, CREATED), Answer(307, "away"), Answer(403)) as server:
        server.answers[1].headers["Location"] = f"{server.url}/elsewhere".replace("http", "ws")
        with (
            Client(server.url, "nlk_test") as client,
            pytest.raises(ForeignAnswerError, match="answered 307"),
        ):
            Session(client._http, _view()).exec(["true"])
        assert [asked.path for asked in server.asked] == ["/v1/sessions/ses_1/exec"] * 2


def test_a_terminal_has_no_input_that_ends() -> None:
    with serving() as server, Client(server.url, "nlk_test") as client:
        with pytest.raises(ValueError, match="`tty` and `stdin` exclude each other"):
            Session(client._http, _view()).exec(["cat"], tty=True, stdin=b"a")
        assert server.asked == []


def _view() -> Any:
    return VIEW


def test_without_websockets_a_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(ConfigError, match=r"pip install 'nearlight\[exec\]'"):
        run("ws://127.0.0.1:1/", PROTOCOLS, None, None, 1)
