"""The hand-written layer against a real HTTP server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nearlight import (
    Client,
    ConfigError,
    ForeignAnswerError,
    NotReadyError,
    ProblemError,
    SessionEndedError,
    UnreachableError,
)
from nearlight.config import Broker, find_broker
from nearlight.http import Http
from server import Answer, Server, problem, serving

NOW = {"Retry-After": "0"}


def view(phase: str, **state: object) -> dict[str, Any]:
    return {"id": "ses_1", "title": "a", "state": {"phase": phase, **state}, "labels": {}}


def client(server: Server) -> Client:
    return Client(server.url, "nlk_test")


def test_a_start_is_asked_again_with_its_key_until_it_is_taken() -> None:
    starting = view("starting", progress={"step": "pulling", "done_bytes": 1, "total_bytes": 2})
    answers = [
        problem(429, "too-many-requests", NOW),
        problem(503, "node-unreachable", NOW),
        Answer(None),
        Answer(201, view("placing")),
        Answer(events=[view("placing"), starting, view("ready")]),
    ]
    seen: list[str] = []
    with serving(*answers) as server:
        session = client(server).sessions.start(
            job={"image": "a:1", "secrets": ["T"]},
            secrets={"T": "x"},
            on_progress=lambda at: seen.append(at.phase),
        )
        creates = server.asked[:4]
    assert session.phase == "ready"
    assert seen == ["placing", "starting", "ready"]
    assert creates[0].body == {"job": {"image": "a:1", "secrets": ["T"]}, "secrets": {"T": "x"}}
    assert creates[0].headers["authorization"] == "Bearer nlk_test"
    assert len({asked.headers["idempotency-key"] for asked in creates}) == 1
    assert server.asked[4].path == "/v1/sessions/ses_1/events"


def test_every_start_has_a_key_of_its_own() -> None:
    with serving(Answer(201, view("placing")), Answer(201, view("placing"))) as server:
        for _ in range(2):
            client(server).sessions.start(app="freedoom", wait=False)
        assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 2


def test_retry_after_is_waited_for_and_no_longer() -> None:
    waits: list[float] = []
    answers = [problem(429, "too-many-requests", {"Retry-After": "7"}), Answer(200, {"sessions": []})]
    with serving(*answers, problem(429, "too-many-requests", {"Retry-After": "3600"})) as server:
        http = Http(Broker(server.url, "k"), sleep=waits.append)
        assert http.request("GET", "/v1/sessions") == {"sessions": []}
        with pytest.raises(ProblemError) as refused:
            http.request("GET", "/v1/sessions")
        http.close()
    assert waits == [7.0]
    assert refused.value.retry_after_s == 3600


def test_what_is_not_safe_to_do_twice_is_done_once() -> None:
    with serving(Answer(None)) as server, pytest.raises(UnreachableError):
        client(server).request("POST", "/v1/keys", json={})
    assert len(server.asked) == 1
    with serving(problem(429, "quota-exceeded")) as server, pytest.raises(ProblemError):
        client(server).sessions.list()
    assert len(server.asked) == 1, "no Retry-After, no retry"


def test_a_problem_has_the_brokers_words() -> None:
    with serving(problem(403, "forbidden")) as server, pytest.raises(ProblemError) as refused:
        client(server).sessions.get("ses_1")
    error = refused.value
    assert (str(error), error.name, error.status, error.request_id) == (
        "No: Do this.",
        "forbidden",
        403,
        "req_1",
    )
    with serving(Answer(502, "bad gateway")) as server, pytest.raises(ForeignAnswerError):
        client(server).sessions.get("ses_1")


def test_a_stream_that_breaks_off_is_taken_up_again() -> None:
    answers = [Answer(events=[view("placing")]), Answer(None), Answer(events=[view("ready")])]
    with serving(Answer(200, view("queued", position=1)), *answers) as server:
        assert client(server).sessions.get("ses_1").wait().phase == "ready"
        assert not server.answers


def test_a_session_that_ends_before_it_is_ready_says_why() -> None:
    ended = view("ended", reason="image-missing", detail="There is no such image.")
    with serving(Answer(201, view("placing")), Answer(events=[ended])) as server:
        with pytest.raises(SessionEndedError, match="no such image") as over:
            client(server).sessions.start(job={"image": "a:1"})
        assert [asked.method for asked in server.asked] == ["POST", "GET"]
    assert over.value.reason == "image-missing"
    done = view("ended", reason="job-done", detail="Done.")
    with serving(Answer(201, view("placing")), Answer(events=[done])) as server:
        assert client(server).sessions.start(job={"image": "a:1"}).phase == "ended"


def test_what_is_not_ready_in_time_is_ended() -> None:
    answers = [Answer(201, view("placing")), Answer(events=[view("placing")]), Answer(202, view("ending"))]
    with serving(*answers) as server, pytest.raises(NotReadyError):
        client(server).sessions.start(job={"image": "a:1"}, timeout_s=0)
    assert server.asked[-1].method == "DELETE"


def test_an_endpoint_is_an_address_and_a_ticket_and_the_end_of_a_block_ends_the_session() -> None:
    made = {"url": "http://ses-1.localhost/", "ticket": "t", "expires_at": 1, "open_url": "http://once/"}
    before = {**made, "direct_url": "https://ses-1.node/"}
    of_node = {**before, "direct_ticket": "of-node"}
    answers = [Answer(200, view("ready")), Answer(None), *[Answer(201, made)] * 3, Answer(201, of_node)]
    answers += [Answer(201, of_node), Answer(201, before)]
    answers.append(Answer(202, view("ending")))
    with serving(*answers) as server, client(server).sessions.get("ses_1") as session:
        url, ticket = session.endpoint("web", expires_s=60)
        assert session.open_url() == "http://once/"
        assert session.endpoint(direct=True).url == url, "where the node has none"
        scoped = session.endpoint(methods=["GET"], path="/v1", direct=True)
        assert session.endpoint().ticket == "t", "the node's is for the node alone"
        assert session.endpoint(direct=True) == (url, ticket), "of a broker that makes none for nodes"
    assert (scoped.url, scoped.ticket) == ("https://ses-1.node/", "of-node")
    assert server.asked[5].body == {"methods": ["GET"], "path": "/v1"}
    assert (url, ticket) == ("http://ses-1.localhost/", "t")
    assert server.asked[2].body == {"port": "web", "expires_s": 60}
    assert server.asked[-1].method == "DELETE"


def test_the_end_of_a_block_does_not_hide_what_went_wrong_in_it() -> None:
    answers = [Answer(200, view("ready")), problem(409, "conflict")]
    broken = pytest.raises(ValueError, match="of the block")
    with serving(*answers) as server, broken as raised, client(server).sessions.get("ses_1"):
        raise ValueError("of the block")
    if sys.version_info >= (3, 11):
        assert raised.value.__notes__ == ["ses_1 is not ended: No: Do this."]
    with serving(*answers) as server, pytest.raises(ProblemError), client(server).sessions.get("ses_1"):
        pass


def test_lists_are_filtered_and_usage_is_read_to_its_last_page() -> None:
    pages = [
        {"currency": "EUR", "from_unix_ms": 0, "to_unix_ms": 1, "entries": [{"seconds": n}], "next": after}
        for n, after in ((1, "a"), (2, None))
    ]
    with serving(
        Answer(200, {"sessions": [view("ready")]}), *(Answer(200, page) for page in pages)
    ) as server:
        found = client(server).sessions.list(kind="job", labels={"customer": "acme", "a": "b"})
        usage = client(server).usage(since="2026-01-01", labels={"customer": "acme"})
    assert [session.id for session in found] == ["ses_1"]
    assert [entry["seconds"] for entry in usage["entries"]] == [1, 2]
    assert [asked.path for asked in server.asked] == [
        "/v1/sessions?kind=job&label=customer%3Dacme&label=a%3Db",
        "/v1/usage?from=2026-01-01&label.customer=acme",
        "/v1/usage?from=2026-01-01&label.customer=acme&after=a",
    ]


def test_a_profiles_key_goes_to_its_url_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEARLIGHT_URL", "NEARLIGHT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="nearlight login"):
        find_broker()
    (tmp_path / "nearlight").mkdir()
    (tmp_path / "nearlight/profiles.toml").write_text(
        'current = "a"\n[profiles.a]\nurl = "https://a/"\nkey = "of a"\n[profiles.b]\nurl = "https://b"\nkey = "of b"\n'
    )
    assert find_broker() == ("https://a", "of a")
    assert find_broker("https://b/") == ("https://b", "of b")
    with pytest.raises(ConfigError, match="no API key for https://c"):
        find_broker("https://c")
    monkeypatch.setenv("NEARLIGHT_URL", "https://c")
    monkeypatch.setenv("NEARLIGHT_TOKEN", "of c")
    assert find_broker() == ("https://c", "of c")
    assert find_broker("https://b", "given") == ("https://b", "given")


def line(at: str, text: str) -> bytes:
    return f'id: {at}\nevent: line\ndata: {{"at":"{at}","stream":"stdout","text":"{text}"}}\n\n'.encode()


def test_a_log_goes_on_where_it_broke_and_says_what_is_lost() -> None:
    lost = b"event: gap\ndata: {}\n\n"
    answers = [
        Answer(body=view("ready")),
        Answer(raw=b": ping\n\n" + line("T:1-1", "a") + line("T:2-1", "b")),
        problem(503, "node-unreachable"),
        Answer(raw=lost + line("T:9-1", "c") + b"event: end\ndata: {}\n\n"),
    ]
    with serving(*answers) as server:
        session = client(server).sessions.get("ses_1")
        found = [(of["stream"], of["text"]) for of in session.logs(follow=True, tail=5)]
        asked = [of.path for of in server.asked[1:]]
    assert found == [("stdout", "a"), ("stdout", "b"), ("gap", ""), ("stdout", "c")]
    assert asked[0] == "/v1/sessions/ses_1/logs?follow=true&tail=5"
    assert asked[1] == asked[2] == "/v1/sessions/ses_1/logs?follow=true&after=T%3A2-1"


def test_files_are_bytes_either_way() -> None:
    answers = [Answer(body=view("ready")), Answer(raw=b"tar"), Answer(body={"entries": 1, "bytes": 3})]
    with serving(*answers) as server:
        session = client(server).sessions.get("ses_1")
        assert b"".join(session.get_files("/tmp/a b")) == b"tar"
        assert session.put_files("/tmp", b"tar")["bytes"] == 3
        got, put = server.asked[1:]
    assert (got.method, got.path) == ("GET", "/v1/sessions/ses_1/files?path=%2Ftmp%2Fa+b")
    assert (put.body, put.headers["content-type"]) == (b"tar", "application/x-tar")
