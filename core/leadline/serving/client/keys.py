"""CURVE keys as small JSON files. Secrets are readable by their owner only. Standard library and pyzmq only.

A server's folder holds ``server.json`` (its pair) and ``clients/NAME.json``: the ``public`` key that may come in, the
SHA-256 of the token that lets it in over HTTP (``token_sha256``), and what it may take (``quota``). A client holds one
file with everything it needs: its pair, its token and the server's public key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import zmq

from leadline.errors import InputError
from leadline.serving.protocol.messages import EVERYBODY, Quota

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


@dataclass(frozen=True)
class ClientKeys:
    """What a client needs: the server's public key, its own pair (Z85, 40 characters each), its token for HTTP."""

    server: str
    public: str
    secret: str
    token: str = ""


@dataclass(frozen=True)
class ServerKeys:
    """A server's own pair."""

    public: str
    secret: str


@dataclass(frozen=True)
class Guest:
    """A client of a ring; ``token_sha256`` is empty if it has no token."""

    name: str
    public: str
    token_sha256: str = ""
    quota: Quota = EVERYBODY


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
    keys = replace(client_keys, server=server_key or client_keys.server)
    for name in ("server", "public", "secret"):
        _check_key(getattr(keys, name), name)
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
        """The server's pair, made on first use.

        Raises:
            InputError: It cannot be read, or others can read it.
        """
        path = self.folder / "server.json"
        if not path.exists():
            _write(path, ServerKeys(*new_pair()))
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError(f"others can read {path}, which holds the server's secret; run: chmod 600 {path}")
        return _read(ServerKeys, path)

    def add(self, name: str, output: Path | None, quota: Quota = EVERYBODY) -> ClientKeys:
        """A new pair for a client: public key into the ring, everything the client needs into ``output``, if given.

        Raises:
            InputError: The name is taken or no name; the file exists.
        """
        self._check_name(name)
        entry = self._entry(name)
        if entry.exists():
            raise InputError(f"there is a key named {name}; remove it first, or choose another name")
        if output is not None and output.exists():
            raise InputError(f"{output} exists; choose another file")
        keys = ClientKeys(self.server().public, *new_pair(), secrets.token_urlsafe(32))
        if output is not None:
            _write(output, keys)
        self.authorise(name, keys.public, keys.token, quota)
        return keys

    def authorise(self, name: str, public: str, token: str = "", quota: Quota = EVERYBODY) -> None:
        """Let a client in whose public key is known."""
        self._check_name(name)
        _check_key(public, "public")
        entry: dict[str, Any] = {"public": public}
        if token:
            entry["token_sha256"] = digest(token)
        if quota != EVERYBODY:
            entry["quota"] = {key: value for key, value in asdict(quota).items() if value is not None}
        _write(self._entry(name), entry)

    def remove(self, name: str) -> None:
        """Lock a client out. A running server ends its connections within seconds."""
        self._check_name(name)
        try:
            self._entry(name).unlink()
        except FileNotFoundError:
            raise InputError(f"there is no key named {name}; `leadline keys list` shows them") from None

    def clients(self) -> dict[str, str]:
        """Public key → name of every client that may come in. Unreadable entries admit nobody."""
        return {guest.public: guest.name for guest in self.guests()}

    def guests(self) -> list[Guest]:
        """Every client that may come in. Unreadable entries admit nobody."""
        known = []
        for path in sorted((self.folder / "clients").glob("*.json")):
            try:
                entry = json.loads(path.read_text())
                _check_key(entry["public"], "public")
                quota = Quota(**entry.get("quota", {}))
                known.append(Guest(path.stem, entry["public"], str(entry.get("token_sha256", "")), quota))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError):
                continue
        return known

    def _entry(self, name: str) -> Path:
        return self.folder / "clients" / f"{name}.json"

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise InputError(f"'{name}' is no name for a key; use letters, digits, and any of _.@-")


def digest(token: str) -> str:
    """What a ring keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


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


def _write(path: Path, content: ServerKeys | ClientKeys | dict[str, Any]) -> None:
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
