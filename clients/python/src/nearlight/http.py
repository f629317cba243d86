"""Requests to one broker: the key, retries, and problems as exceptions.

A request is sent again where that is safe: after a refusal that has `Retry-After`, and after a broken
connection or a 503 if doing it twice is doing it once (GET, PUT, DELETE, or an Idempotency-Key).

**What it does not know:** sessions, and what any body means.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from .config import Broker
from .errors import ForeignAnswerError, NearlightError, ProblemError, UnreachableError

Query = Sequence[tuple[str, str | int]]

# Seconds that an answer may take.
ANSWER_S = 30.0
# A silent event stream is dead after this; the broker pings every 15 s.
EVENT_S = 45.0
# How long a node looks through a tree, or writes the last of one.
COPY_S = 180.0
# Of one request beyond the first.
RETRIES = 3
# A broker that asks for more patience than this is not waited for, the caller is told.
RETRY_AFTER_S_MAX = 60.0
BACKOFF_S = 0.25
BACKOFF_S_MAX = 5.0


def backoff_s(attempt: int) -> float:
    """Seconds until the next try, drawn so that many clients do not come back at once."""
    return random.uniform(0.5, 1) * min(BACKOFF_S * 2.0**attempt, BACKOFF_S_MAX)


def retry_after_s(answer: httpx2.Response) -> float | None:
    """`Retry-After`, which is seconds or a date (RFC 9110)."""
    text = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    except (TypeError, ValueError):
        return None


class Http:
    """A connection pool to one broker."""

    def __init__(self, broker: Broker, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.url = broker.url
        self._sleep = sleep
        # Whom it trusts, which WebSockets do as well.
        self.tls = httpx2.create_ssl_context()
        self._client = httpx2.Client(
            base_url=broker.url,
            headers={"Authorization": f"Bearer {broker.token}"},
            timeout=ANSWER_S,
            verify=self.tls,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        json: object = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Any:
        """The answer's JSON; `None` where it has no body. `repeatable` says that twice is as good as once."""
        if repeatable is None:
            repeatable = method in ("GET", "HEAD", "PUT", "DELETE") or "Idempotency-Key" in (headers or {})
        request = self._client.build_request(method, path, params=list(query), json=json, headers=headers)
        for attempt in range(RETRIES + 1):
            try:
                answer = self._client.send(request)
            except httpx2.TransportError as error:
                sent = not isinstance(error, httpx2.ConnectError)
                if attempt == RETRIES or (sent and not repeatable):
                    raise self._unreachable() from error
                pause = backoff_s(attempt)
            else:
                if answer.is_success:
                    return self._json(answer)
                again = self._pause_s(answer, attempt, repeatable)
                if attempt == RETRIES or again is None:
                    raise self.problem(answer)
                pause = again
            self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def events(self, path: str, deadline: float | None) -> Iterator[str | None]:
        """The `data` of each event of a stream; `None` for a sign of life, to look at the clock.

        `deadline` is of `time.monotonic`. A broken stream ends like one that is over.
        """
        left = EVENT_S if deadline is None else min(EVENT_S, max(0.1, deadline - time.monotonic()))
        timeout = httpx2.Timeout(ANSWER_S, read=left)
        try:
            with self._client.stream(
                "GET", path, headers={"Accept": "text/event-stream"}, timeout=timeout
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self.problem(answer)
                for line in answer.iter_lines():
                    yield line[5:].strip() if line.startswith("data:") else None
        except httpx2.TransportError:
            return

    def messages(self, path: str, query: Query) -> Iterator[tuple[str, str, str]]:
        """Id, name and `data` of each event of a stream. A broken stream ends like one that is over."""
        timeout = httpx2.Timeout(ANSWER_S, read=EVENT_S)
        name, at = "", ""
        try:
            with self._client.stream("GET", path, params=list(query), timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self.problem(answer)
                for line in answer.iter_lines():
                    field, _, value = line.partition(":")
                    value = value.removeprefix(" ")
                    if field == "id":
                        at = value
                    elif field == "event":
                        name = value
                    elif field == "data":
                        yield at, name, value
        except httpx2.TransportError:
            return

    def download(self, path: str, query: Query) -> Iterator[bytes]:
        """The bytes of an answer; a broken one raises."""
        timeout = httpx2.Timeout(ANSWER_S, read=COPY_S)
        try:
            with self._client.stream("GET", path, params=list(query), timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self.problem(answer)
                yield from answer.iter_bytes()
        except httpx2.TransportError as error:
            raise self._unreachable() from error

    def upload(self, path: str, query: Query, content: bytes | Iterable[bytes], kind: str) -> Any:
        """The answer's JSON to a body of bytes, which is sent once."""
        timeout = httpx2.Timeout(ANSWER_S, read=COPY_S, write=COPY_S)
        try:
            answer = self._client.put(
                path, params=list(query), content=content, headers={"Content-Type": kind}, timeout=timeout
            )
        except httpx2.TransportError as error:
            raise self._unreachable() from error
        if not answer.is_success:
            raise self.problem(answer)
        return self._json(answer)

    def problem(self, answer: httpx2.Response) -> NearlightError:
        """What a refusal says."""
        try:
            problem = answer.json()
            return ProblemError(problem, retry_after_s(answer))
        except (ValueError, KeyError, TypeError):
            return ForeignAnswerError(
                f"{answer.url} answered {answer.status_code} and not as a Nearlight broker; check the URL"
            )

    def _json(self, answer: httpx2.Response) -> Any:
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise self.problem(answer) from error

    def _pause_s(self, answer: httpx2.Response, attempt: int, repeatable: bool) -> float | None:
        asked = retry_after_s(answer)
        if answer.status_code not in (429, 503) or (asked or 0) > RETRY_AFTER_S_MAX:
            return None
        if asked is None and answer.status_code == 503 and repeatable:
            return backoff_s(attempt)
        return asked

    def _unreachable(self) -> UnreachableError:
        return UnreachableError(
            f"cannot reach the broker at {self.url}; is it running? Start one with `nearlight up`"
        )
