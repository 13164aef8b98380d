"""What others can reach needs keys."""

from __future__ import annotations

from leadline.errors import InputError
from leadline.serving.protocol.addresses import is_local
from leadline.serving.protocol.settings import ServerConfig


def check_exposure(config: ServerConfig) -> None:
    """Complain about a configuration that opens a server to everybody.

    Raises:
        InputError: An address that others can reach, without keys, and nobody said that this is meant.
    """
    if config.keys is not None or config.insecure:
        return
    if not is_local(config.bind):
        raise InputError(
            f"{config.bind} can be reached by others: use --keys (see `leadline keys`), bind to 127.0.0.1, "
            "or say --insecure"
        )
    if config.http_port is not None and not is_local_host(config.http_host):
        raise InputError(
            f"{config.http_host} can be reached by others: use --keys, --http-host 127.0.0.1, or say --insecure"
        )


def is_local_host(host: str) -> bool:
    """Whether only this machine reaches a host's name or address."""
    return is_local(f"tcp://[{host}]:1" if ":" in host else f"tcp://{host}:1")
