"""Starts GPU sessions and jobs on a Nearlight network, and talks to them.

from nearlight import Client

with Client() as client, client.sessions.start(job="job.toml") as session:
    url, ticket = session.endpoint()
"""

from . import wire
from .client import Client, Endpoint, Session, Sessions
from .command import Ran
from .errors import (
    CommandError,
    CommandTimeoutError,
    ConfigError,
    ForeignAnswerError,
    NearlightError,
    NotReadyError,
    ProblemError,
    SessionEndedError,
    UnreachableError,
)
from .webhooks import WebhookError, verify_webhook

__all__ = [
    "Client",
    "CommandError",
    "CommandTimeoutError",
    "ConfigError",
    "Endpoint",
    "ForeignAnswerError",
    "NearlightError",
    "NotReadyError",
    "ProblemError",
    "Ran",
    "Session",
    "SessionEndedError",
    "Sessions",
    "UnreachableError",
    "WebhookError",
    "verify_webhook",
    "wire",
]
