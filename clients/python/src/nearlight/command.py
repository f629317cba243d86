"""A command in a job, over the WebSocket `nearlight.exec.v1`: its input, its output as it comes, its status.

Each message is a byte that says what it is, and its bytes. Nothing is read while the caller looks at what was read: a
command that writes faster than that waits, as it would for a slow terminal.

**What it does not know:** sessions, and how the ticket was come by.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from .errors import CommandError, ConfigError, ForeignAnswerError, ProblemError, UnreachableError

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
OPEN_S = 30.0
CLOSE_S = 1.0


class Ran(NamedTuple):
    """A command that is over. A signal's status is 128 and its number; a terminal's output is all `stdout`."""

    status: int
    stdout: bytes
    stderr: bytes


def run(
    url: str,
    protocols: list[str],
    stdin: bytes | Iterable[bytes] | None,
    on_output: OnOutput | None,
    output_bytes_max: int,
) -> Ran:
    """Runs the command of the ticket in `protocols` to its end. Whatever is raised ends it."""
    # One who runs no commands needs no WebSocket.
    try:
        from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol
    except ImportError as error:
        raise ConfigError("commands need the package websockets: `pip install 'nearlight[exec]'`") from error
    offered = [Subprotocol(of) for of in protocols]
    try:
        socket = connect(
            url,
            subprotocols=offered,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=AHEAD_MAX,
            compression=None,
        )
    except InvalidStatus as refusal:
        raise _refused(url, refusal.response.status_code, refusal.response.body) from refusal
    except (OSError, InvalidHandshake) as error:
        raise UnreachableError(f"cannot open the command's WebSocket at {url}: {error}") from error
    failed: list[BaseException] = []
    with socket:
        if stdin is not None:
            # Nobody waits for it: what it reads may never end. Its last word fails once the socket is closed.
            threading.Thread(target=_send, args=(socket, stdin, failed), daemon=True).start()
        try:
            return _heard(socket, on_output, output_bytes_max)
        except (CommandError, WebSocketException) as error:
            if failed:
                raise failed[0] from None
            if isinstance(error, CommandError):
                raise
            raise CommandError(f"the way to the command broke off, which ended it: {error}") from error


def _heard(socket: Any, on_output: OnOutput | None, output_bytes_max: int) -> Ran:
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    for message in socket:
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
    raise CommandError("the way to the command broke off, which ended it")


def _send(socket: Any, stdin: bytes | Iterable[bytes], failed: list[BaseException]) -> None:
    from websockets.exceptions import ConnectionClosed

    try:
        for piece in [stdin] if isinstance(stdin, bytes) else stdin:
            for at in range(0, len(piece), INPUT_BYTES):
                socket.send(bytes([STDIN]) + piece[at : at + INPUT_BYTES])
        socket.send(bytes([STDIN_END]))
    except ConnectionClosed:
        # Whoever listens knows why.
        return
    except BaseException as error:  # noqa: BLE001
        # Input that fails is no end of input, however it fails. Its caller hears of it.
        failed.append(error)
        socket.close()


def _refused(url: str, status: int, body: bytes | bytearray | None) -> ProblemError | ForeignAnswerError:
    try:
        return ProblemError(json.loads(body or b""))
    except (ValueError, KeyError, TypeError):
        return ForeignAnswerError(f"{url} answered {status} and not as a Nearlight broker; check the URL")
