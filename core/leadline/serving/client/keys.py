"""CURVE keys as small JSON files. Secrets are readable by their owner only. Standard library and pyzmq only.

A server's folder holds ``server.json`` (its pair) and ``clients/NAME.json`` (the public keys that may come in). A
client holds one file with everything it needs: its pair and the server's public key.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import zmq

from leadline.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs: the server's public key, and its own pair (Z85, 40 characters each)."""

    server: str
    public: str
    secret: str


@dataclass(frozen=True)
class ServerKeys:
    """A server's own pair."""

    public: str
    secret: str


K = TypeVar("K", ServerKeys, ClientKeys)


def load_client_keys(
    server_key: str | None, client_keys: ClientKeys | tuple[str, str] | str | Path | None
) -> ClientKeys | None:
    """The keys to use, from what a user gave; None for a connection without keys.

    Raises:
        InputError: A key or file is malformed, or half of what is needed is missing.
    """
    if client_keys is None and server_key is None:
        return None
    if isinstance(client_keys, str | Path):
        client_keys = _read(ClientKeys, Path(client_keys))
    elif isinstance(client_keys, tuple):
        client_keys = ClientKeys(server_key or "", *client_keys)
    elif client_keys is None:  # a server that encrypts but lets everybody in
        public, secret = new_pair()
        client_keys = ClientKeys("", public, secret)
    keys = ClientKeys(server_key or client_keys.server, client_keys.public, client_keys.secret)
    for name, key in asdict(keys).items():
        _check_key(key, name)
    return keys


def new_pair() -> tuple[str, str]:
    """A new (public, secret) pair.

    Raises:
        InputError: This libzmq was built without CURVE.
    """
    if not zmq.has("curve"):
        raise InputError("this pyzmq has no CURVE security; install pyzmq from PyPI")
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class KeyRing:
    """A server's folder of keys.

    Args:
        folder: Made on the first write, for the owner only.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def server(self) -> ServerKeys:
        """The server's pair, made on first use."""
        path = self.folder / "server.json"
        if not path.exists():
            _write(path, ServerKeys(*new_pair()))
        return _read(ServerKeys, path)

    def add(self, name: str, output: Path) -> ClientKeys:
        """A new pair for a client: public key into the ring, everything the client needs into ``output``.

        Raises:
            InputError: The name is taken or no name; the file exists.
        """
        self._check_name(name)
        entry = self._entry(name)
        if entry.exists():
            raise InputError(f"there is a key named {name}; remove it first, or choose another name")
        if output.exists():
            raise InputError(f"{output} exists; choose another file")
        keys = ClientKeys(self.server().public, *new_pair())
        _write(output, keys)
        self.authorise(name, keys.public)
        return keys

    def authorise(self, name: str, public: str) -> None:
        """Let a client in whose public key is known."""
        self._check_name(name)
        _check_key(public, "public")
        _write(self._entry(name), {"public": public})

    def remove(self, name: str) -> None:
        """Lock a client out. A running server notices at its next handshake."""
        self._check_name(name)
        try:
            self._entry(name).unlink()
        except FileNotFoundError:
            raise InputError(f"there is no key named {name}; `leadline keys list` shows them") from None

    def clients(self) -> dict[str, str]:
        """Public key → name of every client that may come in. Unreadable entries let nobody in."""
        known = {}
        for path in sorted((self.folder / "clients").glob("*.json")):
            try:
                public = json.loads(path.read_text())["public"]
                _check_key(public, "public")
            except (OSError, ValueError, KeyError, TypeError, InputError):
                continue
            known[public] = path.stem
        return known

    def _entry(self, name: str) -> Path:
        return self.folder / "clients" / f"{name}.json"

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(f"'{name}' is no name for a key; use letters, digits, and any of _.@-")


def default_folder() -> Path:
    """Where a server's keys are kept unless told otherwise."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "leadline" / "keys"


def _check_key(key: object, name: str) -> None:
    if not isinstance(key, str) or len(key) != 40 or not key.isascii():
        raise InputError(f"the {name} key is not 40 characters of Z85; `leadline keys` makes keys")


def _read(kind: type[K], path: Path) -> K:
    try:
        return kind(**json.loads(path.read_text()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is no key file; `leadline keys add` makes them") from error


def _write(path: Path, content: ServerKeys | ClientKeys | dict[str, str]) -> None:
    """Write a new file that only its owner can read; never through an existing file or link."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    data = content if isinstance(content, dict) else asdict(content)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(f"{path} exists; remove it first") from None
    with os.fdopen(descriptor, "w") as file:
        json.dump(data, file, indent=2)
        file.write("\n")
