"""ZeroMQ addresses."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def client_by_address(host: str, connection: str) -> str:
    """What a client without a key is known by: its address; on this machine, where all have one, its connection."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket file, or the peer is gone already
        return f"connection:{connection}"
    return f"connection:{connection}" if address.is_loopback else f"address:{address}"


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
