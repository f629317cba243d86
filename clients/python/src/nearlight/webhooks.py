"""Notices of jobs: whether one that came is from the network that its secret is of.

from nearlight import verify_webhook

notice = verify_webhook(body, headers, secret)  # raises WebhookError
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .errors import NearlightError

if TYPE_CHECKING:
    from .wire import WebhookNotice

PREFIX = "whsec_"
#: A notice that is older, or from the future, is not taken: it may be sent again by somebody who saw it.
TOLERANCE_S = 300


class WebhookError(NearlightError):
    """A notice is not from whom it should be."""


def verify_webhook(
    body: bytes | str,
    headers: Mapping[str, str],
    secret: str,
    *,
    tolerance_s: float = TOLERANCE_S,
    now_s: float | None = None,
) -> WebhookNotice:
    """The notice in ``body``, which has to be as it came, byte for byte.

    Notices come at least once: ``webhook-id`` is the same each time.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    text = body.encode() if isinstance(body, str) else body
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        delivery, timestamp, signatures = (
            by_name[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
        sent_s = int(timestamp)
    except (KeyError, ValueError, binascii.Error) as error:
        raise WebhookError("the notice, or the secret, is not in the form of Standard Webhooks") from error
    if abs((time.time() if now_s is None else now_s) - sent_s) > tolerance_s:
        raise WebhookError("the notice is too old, or from the future; is the clock right?")
    signed = b".".join([delivery.encode(), timestamp.encode(), text])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    # All are compared, each in constant time.
    matches = [hmac.compare_digest(f"v1,{expected}".encode(), one.encode()) for one in signatures.split(" ")]
    if not any(matches):
        raise WebhookError("the notice is signed with another secret, or was altered")
    notice: Any = json.loads(text) if text else {}
    return cast("WebhookNotice", notice)
