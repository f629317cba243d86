"""Signatures of notices, against vectors that the broker's own test makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nearlight import WebhookError, verify_webhook

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors/webhooks.json").read_text(encoding="utf-8")
)
SENT_S = 1_767_225_600


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["name"]))
def test_what_the_broker_signs_is_taken_and_nothing_else(vector: dict[str, Any]) -> None:
    body, headers, secret = vector["body"], vector["headers"], vector["secret"]
    notice = verify_webhook(body, headers, secret, now_s=SENT_S + 10)
    assert notice == (json.loads(body) if body else {})
    shouted = {name.upper(): value for name, value in headers.items()}
    assert verify_webhook(body.encode(), shouted, secret, now_s=SENT_S) == notice
    other = "whsec_" + "AAAA" * 8
    for altered in (
        (body + " ", headers, secret),
        (body, {**headers, "webhook-id": "msg_2"}, secret),
        (body, {**headers, "webhook-timestamp": str(SENT_S + 1)}, secret),
        (body, {**headers, "webhook-signature": "v1,AAAA"}, secret),
        (body, {**headers, "webhook-signature": ""}, secret),
        (body, {}, secret),
        (body, headers, other),
        (body, headers, "whsec_*"),
    ):
        with pytest.raises(WebhookError):
            verify_webhook(*altered, now_s=SENT_S)
    for now_s in (SENT_S - 301, SENT_S + 301):
        with pytest.raises(WebhookError, match="clock"):
            verify_webhook(body, headers, secret, now_s=now_s)
