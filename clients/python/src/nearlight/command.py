"""A command in a job, over the WebSocket `nearlight.exec.v1`: its input, its output as it comes, its status.

Each message is a byte that says what it is, and its bytes. A loop in a thread of its own carries both ways, so that neither
waits for the other. Nothing is read while the caller looks at what was read: a command that writes faster than that waits, as
it would for a slow terminal.

**What it does not know:** sessions, and how the ticket was come by.
"""

from __future__ import annotations

import asyncio
import json
import socket as sockets
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent import futures
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

from typing_extensions import Self

from .errors import (
    CommandError,
    CommandTimeoutError,
    ConfigError,
    ForeignAnswerError,
    ProblemError,
    UnreachableError,
)

T = TypeVar("T")
Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], object]

# Kinds of messages: to the command, and from it.
STDIN, STDIN_END = 0, 1
STDOUT, STDERR, EXIT, FAILED = 2, 3, 6, 7
STREAMS: dict[int, Stream] = {STDOUT: "stdout", STDERR: "stderr"}
# A message, the byte of its kind included.
MESSAGE_BYTES_MAX = 64 * 1024
INPUT_BYTES = 16 * 1024
# Messages that are read ahead.
AHEAD_MAX = 4
LATE = "the command did not end within {} s, and was told to"
OPEN_S = 30.0
CLOSE_S = 1.0
# After so long a silence the system asks whether the other end is there, and then so often: a way that is gone is noticed.
SILENT_S, ASK_S = 60, 15


class Ran(NamedTuple):
    """A command that is over. A signal's status is 128 and its number; a terminal's output is all `stdout`."""

    status: int
    stdout: bytes
    stderr: bytes


class _Line:
    """A loop in a thread of its own, until it is left; whatever runs in it is over then."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._stay()), daemon=True)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Waits for `work` in the loop, from any other thread."""
        with self._lock:
            loop = self._loop
            if loop is None:
                work.close()
                raise futures.CancelledError
            done = asyncio.run_coroutine_threadsafe(work, loop)
        return done.result()

    async def _stay(self) -> None:
        self._left = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._left.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
            # Behind all that was called before, which is ended.
            if loop is not None:
                loop.call_soon_threadsafe(self._left.set)
        self._thread.join()


def run(
    url: str,
    protocols: list[str],
    stdin: bytes | Iterable[bytes] | None,
    on_output: OnOutput | None,
    output_bytes_max: int,
    tls: ssl.SSLContext | None = None,
    timeout_s: float | None = None,
) -> Ran:
    """Runs the command of the ticket in `protocols` to its end. Whatever is raised ends it."""
    # One who runs no commands needs no WebSocket.
    try:
        import websockets.asyncio.client  # noqa: F401
        from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
    except ImportError as error:
        raise ConfigError("commands need the package websockets: `pip install 'nearlight[exec]'`") from error
    failed: list[BaseException] = []
    until = None if timeout_s is None else time.monotonic() + timeout_s
    with _Line() as line:
        try:
            socket = line.call(_opened(url, protocols, tls, until))
        except InvalidStatus as refusal:
            raise _refused(url, refusal.response.status_code, refusal.response.body) from refusal
        except (OSError, TimeoutError, InvalidHandshake) as error:
            if until is not None and time.monotonic() >= until:
                raise CommandTimeoutError(LATE.format(timeout_s)) from error
            raise UnreachableError(f"cannot open the command's WebSocket at {url}: {error}") from error
        if stdin is not None:
            # Nobody waits for it: what it reads may never end.
            threading.Thread(target=_send, args=(line, socket, stdin, failed), daemon=True).start()
        try:
            return _heard(line, socket, on_output, output_bytes_max, until, timeout_s)
        except (CommandError, WebSocketException) as error:
            if failed:
                raise failed[0] from None
            if isinstance(error, CommandError):
                raise
            raise CommandError(f"the way to the command broke off, which ended it: {error}") from error
        finally:
            line.call(_close(socket))


async def _opened(url: str, protocols: list[str], tls: ssl.SSLContext | None, until: float | None) -> Any:
    from websockets.asyncio.client import connect
    from websockets.typing import Subprotocol

    class Straight(connect):
        """Follows nobody: the ticket is for this broker."""

        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    socket = await Straight(
        url,
        subprotocols=[Subprotocol(of) for of in protocols],
        ssl=tls if url.startswith("wss:") else None,
        open_timeout=OPEN_S if until is None else min(OPEN_S, _left_s(until)),
        close_timeout=CLOSE_S,
        # What is held back has no answer to a ping in it; the broker pings.
        ping_interval=None,
        max_size=MESSAGE_BYTES_MAX,
        max_queue=AHEAD_MAX,
        compression=None,
    )
    plain = socket.transport.get_extra_info("socket")
    plain.setsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", SILENT_S), ("TCP_KEEPINTVL", ASK_S)):
        if hasattr(sockets, name):
            plain.setsockopt(sockets.IPPROTO_TCP, getattr(sockets, name), seconds)
    return socket


async def _close(socket: Any) -> None:
    # A command that reads nothing has input before the last word: it is not waited for.
    try:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(socket.close(), CLOSE_S)
    finally:
        socket.transport.abort()


def _left_s(until: float) -> float:
    return max(0.0, until - time.monotonic())


async def _next(socket: Any, until: float | None) -> Any:
    return await asyncio.wait_for(socket.recv(), None if until is None else _left_s(until))


def _heard(
    line: _Line,
    socket: Any,
    on_output: OnOutput | None,
    output_bytes_max: int,
    until: float | None,
    timeout_s: float | None,
) -> Ran:
    from websockets.exceptions import ConnectionClosedOK

    kept = {"stdout": bytearray(), "stderr": bytearray()}
    while True:
        try:
            message = line.call(_next(socket, until))
        except asyncio.TimeoutError:
            # Of this alone: what a callback raises is its caller's, whatever it is.
            raise CommandTimeoutError(LATE.format(timeout_s)) from None
        except ConnectionClosedOK as closed:
            raise CommandError("the way to the command broke off, which ended it") from closed
        kind, rest = (message[0], message[1:]) if isinstance(message, bytes) and message else (None, b"")
        if kind == EXIT and len(rest) == 4:
            return Ran(struct.unpack(">i", rest)[0], bytes(kept["stdout"]), bytes(kept["stderr"]))
        if kind == FAILED:
            raise CommandError(rest.decode(errors="replace"))
        if kind not in STREAMS:
            # A newer broker's; or that the command runs.
            continue
        if on_output is not None:
            on_output(STREAMS[kind], rest)
        else:
            kept[STREAMS[kind]] += rest
            if len(kept["stdout"]) + len(kept["stderr"]) > output_bytes_max:
                raise CommandError(
                    f"the command wrote more than {output_bytes_max} bytes, and was ended; take its output as it "
                    "comes, with `on_output`, or raise `output_bytes_max`"
                )


def _send(line: _Line, socket: Any, stdin: bytes | Iterable[bytes], failed: list[BaseException]) -> None:
    from websockets.exceptions import ConnectionClosed

    def send(message: bytes) -> bool:
        try:
            line.call(socket.send(message))
        except (ConnectionClosed, futures.CancelledError):
            # Whoever listens knows why, and may still have things to hear.
            return False
        return True

    try:
        for piece in [stdin] if isinstance(stdin, bytes) else stdin:
            for at in range(0, len(piece), INPUT_BYTES):
                if not send(bytes([STDIN]) + piece[at : at + INPUT_BYTES]):
                    return
        send(bytes([STDIN_END]))
    except BaseException as error:  # noqa: BLE001
        # Input that fails is no end of input, however it fails. Its caller hears of it.
        failed.append(error)
        with suppress(futures.CancelledError):
            line.call(_close(socket))


def _refused(url: str, status: int, body: bytes | bytearray | None) -> ProblemError | ForeignAnswerError:
    try:
        return ProblemError(json.loads(body or b""))
    except (ValueError, KeyError, TypeError):
        return ForeignAnswerError(f"{url} answered {status} and not as a Nearlight broker; check the URL")
