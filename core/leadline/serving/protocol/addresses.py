"""ZeroMQ addresses."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_local(address: str) -> bool:
    """Whether only this machine can reach a socket bound to ``address``."""
    parts = urlsplit(address)
    if parts.scheme in ("ipc", "inproc"):
        return True
    host = (parts.hostname or "").strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
