"""Whether the model hub can be reached, and how to keep its client from retrying for a minute when not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import urlparse

from compressor.text import redacted


@lru_cache(maxsize=1)
def reachable(timeout: float = 3.0) -> bool:
    """Whether the hub's host accepts a connection; asked once per process."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # only the proxy can tell
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((host.hostname or "", host.port or 443), timeout=timeout):
            return True
    except OSError:
        return False


def reason(error: Exception) -> str:
    """What a client of the hub says, in a line; it may quote the request, and with it the access token."""
    return redacted((str(error).splitlines() or [type(error).__name__])[0])[:200]


@contextmanager
def offline(active: bool) -> Iterator[None]:
    """While `active`, the hub's client uses its cache alone and fails at once for what is not in it."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or active
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
