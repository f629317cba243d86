"""Which broker, and with which key: what the caller says, then the environment, then `nearlight login`.

**Invariant.** A profile's key goes to that profile's URL and nowhere else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Where `nearlight up` listens unless it is told otherwise.
DEFAULT_URL = "http://127.0.0.1:8080"


class Broker(NamedTuple):
    """A broker and a key for it."""

    url: str
    token: str


def find_broker(url: str | None = None, token: str | None = None) -> Broker:
    """The broker and the key to use, or a `ConfigError` that says what is missing."""
    url = url or os.environ.get("NEARLIGHT_URL")
    token = token or os.environ.get("NEARLIGHT_TOKEN")
    path = _profiles_path()
    read = _read_profiles(path) if path and not (url and token) else {}
    profiles = read.get("profiles", {})
    if not url:
        url = profiles.get(read.get("current"), {}).get("url", DEFAULT_URL)
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"`{url}` is not the address of a broker; it looks like {DEFAULT_URL}")
    if not token:
        found = (of["key"] for of in profiles.values() if of["url"].rstrip("/") == url)
        token = next(found, None)
    if not token:
        raise ConfigError(
            f"no API key for {url}: log in with `nearlight login {url}`, set NEARLIGHT_TOKEN, or give `token`"
        )
    return Broker(url, token.strip())


def read_job(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The job in a `job.toml`."""
    return _read_toml(Path(path), "job")


def _profiles_path() -> Path | None:
    config = os.environ.get("XDG_CONFIG_HOME")
    home = os.environ.get("HOME")
    if not config and not home:
        return None
    return Path(config or f"{home}/.config") / "nearlight" / "profiles.toml"


def _read_profiles(path: Path) -> dict[str, Any]:
    return _read_toml(path, "file of profiles") if path.exists() else {}


def _read_toml(path: Path, what: str) -> dict[str, Any]:
    try:
        read: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return read
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no {what}: {error}") from error
