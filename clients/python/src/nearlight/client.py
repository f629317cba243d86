"""A broker's client: sessions and usage. The types of what goes to and fro are in `wire`, which is generated."""

from __future__ import annotations

import json
import os
import secrets as random_secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import quote

from typing_extensions import Self

from . import command as commands
from . import wire
from .config import find_broker, read_job
from .errors import NearlightError, NotReadyError, ProblemError, SessionEndedError, UnreachableError
from .http import RETRIES, Http, Query, backoff_s

Progress = Callable[["Session"], object]
Job = wire.JobSpec | str | os.PathLike[str]

# Of a command, where nobody takes it as it comes.
OUTPUT_BYTES_MAX = 16 << 20


class Endpoint(NamedTuple):
    """Where a job is reached, and what opens it: `OpenAI(base_url=url + "v1", api_key=ticket)`."""

    url: str
    ticket: str


class Client:
    """A broker: the one given, of NEARLIGHT_URL, or of the last `nearlight login`.

    The key is the one given, of NEARLIGHT_TOKEN, or of the login to this broker. It may be shared by threads.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._http = Http(find_broker(url, token))
        self.sessions = Sessions(self._http)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Any request of `/openapi.json`, with retries and problems as everywhere; the answer's JSON."""
        return self._http.request(method, path, query=query, json=json, headers=headers)

    def usage(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        group: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> wire.UsageReport:
        """What ran, for how long, and what it costs (millionths), all pages of it.

        `since` and `until` are days or instants, such as `2026-01-31`; `group` is `day`, `app` or `label.NAME`.
        """
        given = {"from": since, "to": until, "group": group}
        query: list[tuple[str, str | int]] = [
            (name, value) for name, value in given.items() if value is not None
        ]
        query += [(f"label.{name}", value) for name, value in (labels or {}).items()]
        report = cast(wire.UsageReport, self.request("GET", "/v1/usage", query=query))
        while after := report.get("next"):
            page = cast(wire.UsageReport, self.request("GET", "/v1/usage", query=[*query, ("after", after)]))
            report["entries"] = [*report.get("entries", []), *page.get("entries", [])]
            report["groups"] = [*report.get("groups", []), *page.get("groups", [])]
            report["next"] = page.get("next")
        return report

    def close(self) -> None:
        """Closes the connections; sessions go on."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sessions:
    """The sessions of a broker that this key may see."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def start(
        self,
        *,
        job: Job | None = None,
        app: str | None = None,
        secrets: Mapping[str, str] | None = None,
        budget_micro: int | None = None,
        wait: bool = True,
        timeout_s: float | None = None,
        on_progress: Progress | None = None,
    ) -> Session:
        """Starts a job (a spec, or the path of a `job.toml`) or an app, and waits until it is ready.

        `secrets` has a value for each name in the job's `secrets`. A session that cannot be waited for, because it
        is not ready within `timeout_s` or the caller is interrupted, is ended: nobody else would.
        """
        if isinstance(job, (str, os.PathLike)):
            job = cast(wire.JobSpec, read_job(job))
        body = {"app": app, "job": job, "secrets": dict(secrets or {}), "budget_micro": budget_micro}
        headers = {"Idempotency-Key": random_secrets.token_urlsafe(16)}
        given = {name: value for name, value in body.items() if value not in (None, {})}
        session = Session(self._http, self._http.request("POST", "/v1/sessions", json=given, headers=headers))
        if wait:
            try:
                session.wait(timeout_s=timeout_s, on_progress=on_progress)
            except SessionEndedError:
                raise
            except BaseException:
                with suppress(NearlightError):
                    session.end()
                raise
        return session

    def get(self, session_id: str) -> Session:
        """One session."""
        return Session(self._http, self._http.request("GET", f"/v1/sessions/{quote(session_id, safe='')}"))

    def recipes(self) -> dict[str, wire.Recipe]:
        """The jobs that the broker has ready, by id: `start(job=client.sessions.recipes()["embeddings"]["job"])`."""
        found = cast(wire.RecipeList, self._http.request("GET", "/v1/recipes"))
        return {recipe["id"]: recipe for recipe in found["recipes"]}

    def list(
        self, *, kind: Literal["app", "job"] | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Session]:
        """The sessions, newest first: of one kind, or with all these labels."""
        query: list[tuple[str, str | int]] = [("kind", kind)] if kind else []
        query += [("label", f"{name}={value}") for name, value in (labels or {}).items()]
        found = cast(wire.SessionList, self._http.request("GET", "/v1/sessions", query=query))
        return [Session(self._http, view) for view in found["sessions"]]


class Session:
    """A session as it was when it was last asked for: `view` is all that the broker says of it.

    As a context manager it ends the session.
    """

    def __init__(self, http: Http, view: wire.Session) -> None:
        self._http = http
        self.view = view

    @property
    def id(self) -> str:
        """Its id, `ses_...`."""
        return self.view["id"]

    @property
    def state(self) -> wire.SessionState:
        """Where it is in its life: `phase`, and what goes with that."""
        return self.view["state"]

    @property
    def phase(self) -> str:
        """`queued`, `placing`, `starting`, `ready`, `playing`, `detached`, `ending` or `ended`."""
        return self.state["phase"]

    def refresh(self) -> Self:
        """Asks for it again."""
        self.view = self._http.request("GET", self._path)
        return self

    def wait(self, *, timeout_s: float | None = None, on_progress: Progress | None = None) -> Self:
        """Returns once it is ready, or over because its work is done.

        `on_progress` is called with this session at once and after every change. Raises `SessionEndedError`, or
        `NotReadyError` after `timeout_s` and up to 15 s.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        breaks = 0
        while not self._is_there():
            for data in self._http.events(f"{self._path}/events", deadline):
                if data is not None:
                    breaks = 0
                    self.view = cast(wire.Session, json.loads(data))
                    if on_progress:
                        on_progress(self)
                    if self._is_there():
                        return self
                if deadline is not None and time.monotonic() >= deadline:
                    break
            if deadline is not None and time.monotonic() >= deadline:
                raise NotReadyError(f"{self.id} is not ready after {timeout_s} s: {self.phase}")
            # The broker stopped, or the line broke: the next stream begins with what was missed.
            if breaks > RETRIES:
                raise UnreachableError(
                    f"the events of {self.id} break off; is the broker at {self._http.url} running?"
                )
            time.sleep(backoff_s(breaks))
            breaks += 1
        return self

    def endpoint(
        self,
        port: str | None = None,
        *,
        expires_s: int | None = None,
        methods: list[str] | None = None,
        path: str | None = None,
        direct: bool = False,
    ) -> Endpoint:
        """Where the job is reached, and a ticket that works for an hour, or for `expires_s`.

        `methods` and `path` are what the ticket is for: `methods=["GET", "HEAD"], path="/v1"`. With `direct` the address
        is the job's node's own, if it has one, and the ticket is for that alone: nothing is in between. It works for an
        hour at most; when the job moves, ask again.
        """
        made = self._endpoint(port, expires_s, methods, path)
        url, ticket = made.get("direct_url"), made.get("direct_ticket")
        # A node's owner sees what it is sent, and `ticket` opens `url` as well: of a broker that makes no other, it is for that.
        if direct and url is not None and ticket is not None:
            return Endpoint(url, ticket)
        return Endpoint(made["url"], made["ticket"])

    def open_url(self, port: str | None = None) -> str:
        """An address of the job for a browser. It works once, within a minute."""
        return self._endpoint(port)["open_url"]

    def logs(self, *, follow: bool = False, tail: int | None = None) -> Iterator[dict[str, Any]]:
        """What the job's program wrote, each line once: `at`, `stream` and `text`; with `follow` until the job is over.

        A connection that breaks, as at the end of the job, is made anew where it broke; a line with `stream` `gap` stands for lines that are lost.
        """
        after, breaks, opened = "", 0, False
        while True:
            query: list[tuple[str, str | int]] = [("follow", "true" if follow else "false")]
            if after:
                query.append(("after", after))
            elif tail is not None:
                query.append(("tail", tail))
            try:
                for at, name, data in self._http.messages(f"{self._path}/logs", query):
                    if name == "end":
                        return
                    if name == "gap":
                        yield {"at": "", "stream": "gap", "text": ""}
                        continue
                    after, breaks = at, 0
                    yield json.loads(data)
                opened = True
            except ProblemError as problem:
                opened = opened or after != ""
                if opened and problem.name == "session-ended":
                    return
                if not opened or problem.name not in ("node-unreachable", "job-not-ready", "job-unreachable"):
                    raise
                if problem.name == "job-not-ready":
                    # It ends, or goes on elsewhere: that takes its time.
                    breaks = min(breaks, 1)
            if breaks > RETRIES:
                raise UnreachableError(
                    f"the log of {self.id} breaks off; is the broker at {self._http.url} running?"
                )
            time.sleep(backoff_s(breaks))
            breaks += 1

    def exec(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | Iterable[bytes] | None = None,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        replica: int | None = None,
        on_output: commands.OnOutput | None = None,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
        timeout_s: float | None = None,
    ) -> commands.Ran:
        """Runs a command in the job, as the job's user, to its end: its status, and what it wrote.

        `stdin` is its input, or pieces of it as they come; an iterable is read by a thread of its own. With `tty` it has a
        terminal, of `size` columns and rows. `on_output` is called with `"stdout"` or `"stderr"` and bytes as they come, while
        the command waits; then they are not kept. Without it more than `output_bytes_max` end the command. What a callback
        raises ends it, too, and so does `timeout_s`, counted from when the broker has granted the command, with
        `CommandTimeoutError`. Needs `pip install 'nearlight[exec]'`.
        """
        if tty and stdin is not None:
            raise ValueError(
                "`tty` and `stdin` exclude each other: a terminal has no end of input, so the command would wait for more"
            )
        order: dict[str, object] = {"command": list(command), "tty": tty, "stdin": stdin is not None}
        if size is not None:
            order["size"] = {"cols": size[0], "rows": size[1]}
        query: list[tuple[str, str | int]] = [] if replica is None else [("replica", replica)]
        # Another ticket changes nothing.
        made = self._http.request("POST", f"{self._path}/exec", query=query, json=order, repeatable=True)
        created = cast(wire.CreatedExec, made)
        # `ws` for http, `wss` for https.
        url = "ws" + self._http.url.removeprefix("http") + created["path"]
        protocols = [created["protocol"], f"nearlight.ticket.{created['ticket']}"]
        return commands.run(url, protocols, stdin, on_output, output_bytes_max, self._http.tls, timeout_s)

    def get_files(self, path: str) -> Iterator[bytes]:
        """A file or a directory of the job, as the bytes of a tar archive. Unpack it with care: it is the job's word."""
        return self._http.download(f"{self._path}/files", [("path", path)])

    def put_files(self, path: str, archive: bytes | Iterable[bytes]) -> dict[str, int]:
        """Unpacks a tar archive in the job: below `path` if that is a directory, or else as `path`."""
        made = self._http.upload(f"{self._path}/files", [("path", path)], archive, "application/x-tar")
        return cast("dict[str, int]", made)

    def end(self) -> Self:
        """Ends it. Once is enough; one that is over stays over."""
        self.view = self._http.request("DELETE", self._path)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.end()
        except NearlightError as failure:
            if isinstance(failure, ProblemError) and failure.name == "not-found":
                return
            if error is None:
                raise
            # What went wrong in the block is what its caller catches.
            if sys.version_info >= (3, 11):
                error.add_note(f"{self.id} is not ended: {failure}")

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.phase}>"

    @property
    def _path(self) -> str:
        return f"/v1/sessions/{quote(self.id, safe='')}"

    def _endpoint(
        self,
        port: str | None,
        expires_s: int | None = None,
        methods: list[str] | None = None,
        path: str | None = None,
    ) -> wire.Endpoint:
        asked = {"port": port, "expires_s": expires_s, "methods": methods, "path": path}
        body = {name: value for name, value in asked.items() if value is not None}
        # Another ticket changes nothing.
        made = self._http.request("POST", f"{self._path}/endpoint", json=body, repeatable=True)
        return cast(wire.Endpoint, made)

    def _is_there(self) -> bool:
        """Whether waiting is over; raises if it was in vain."""
        state = self.state
        if state["phase"] == "ended" and state["reason"] != "job-done":
            raise SessionEndedError(self.id, state["reason"], state["detail"])
        return state["phase"] in ("ready", "playing", "detached", "ended")
