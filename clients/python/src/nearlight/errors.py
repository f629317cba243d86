"""What goes wrong, as exceptions. A message says what happened and what to do, in the broker's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import wire


class NearlightError(Exception):
    """The parent of all."""


class ConfigError(NearlightError):
    """There is no broker or key to use; the message says where they are looked for."""


class UnreachableError(NearlightError):
    """No broker answers, or the connection broke and asking again might do a thing twice."""


class ForeignAnswerError(NearlightError):
    """Something answers that is no Nearlight broker, or a proxy in front of one."""


class ProblemError(NearlightError):
    """The broker refused: `problem+json` (RFC 9457)."""

    def __init__(self, problem: wire.Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem['title']}: {problem['detail']}")
        self.problem = problem
        self.retry_after_s = retry_after_s

    @property
    def name(self) -> wire.ProblemType:
        """Which, for programs: `quota-exceeded`, `session-ended`, ..."""
        return self.problem["name"]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem["status"]

    @property
    def detail(self) -> str:
        """What happened this time, and what to do."""
        return self.problem["detail"]

    @property
    def request_id(self) -> str:
        """For the operator, to find it in the log."""
        return self.problem["instance"]


class SessionEndedError(NearlightError):
    """A session ended before it was ready."""

    def __init__(self, session_id: str, reason: wire.EndReason, detail: str) -> None:
        super().__init__(detail)
        self.session_id = session_id
        self.reason = reason


class NotReadyError(NearlightError, TimeoutError):
    """A session was not ready in the time that its caller gave it."""


class CommandError(NearlightError):
    """A command in a job could not be started, or nobody knows what became of it."""


class CommandTimeoutError(CommandError, TimeoutError):
    """A command did not end in the time that its caller gave it, and was told to."""
