# SPDX-License-Identifier: GPL-3.0-or-later
"""The way to a server: one that is started on demand on this computer, or one at an address. No `bpy` here.

All methods but :meth:`Link.close` wait for the network and are called from worker threads only.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from leadline.errors import InputError, LeadlineError
from leadline.serving.client.client import Client, ServerInfo
from leadline.serving.client.local import LocalServer, find_interpreter
from leadline.serving.protocol.addresses import is_local

START_TIMEOUT_S = 120.0
REPLY_TIMEOUT_S = 600.0
HELLO_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ServerSettings:
    """What the preferences say, read in the main thread.

    Attributes:
        remote: Use ``address`` rather than a server of our own.
        address: ``tcp://host:port`` or ``ipc://path``.
        server_key: Public key of the server, 40 characters, or empty.
        key_file: File from `leadline keys add`, or empty.
        python: Interpreter for the local server; empty to look for one.
        online: Whether Blender may go online.
    """

    remote: bool = False
    address: str = ""
    server_key: str = ""
    key_file: str = ""
    python: str = ""
    online: bool = False


def is_loopback(address: str) -> bool:
    """Whether an address stays on this computer.

    Raises:
        InputError: It is no address.
    """
    try:
        parts = urlsplit(address)
        understood = parts.scheme == "ipc" or (parts.scheme == "tcp" and parts.hostname and parts.port)
    except ValueError:
        understood = False
    if not understood:
        raise InputError(f"'{address}' is no server address; write tcp://host:port, for instance tcp://127.0.0.1:5570")
    return is_local(address)


class NotInstalled(LeadlineError):
    """There is no server on this computer. ``fix`` is the operator that helps."""

    fix = "leadline.install_server"


class Link:
    """Keeps the local server and the connection between runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: LocalServer | None = None
        self._client: Client | None = None
        self._made_for: ServerSettings | None = None
        self._found: Path | None = None
        self._closed = False

    @property
    def found_one(self) -> bool:
        """Whether a Python with Leadline was found on this computer without being told."""
        return self._found is not None

    @property
    def server_running(self) -> bool:
        server = self._server
        return server is not None and server.running

    def client(self, settings: ServerSettings) -> Client:
        """A connection as the preferences want it; starts the local server if that is what they want.

        Raises:
            LeadlineError: One sentence about what is in the way.
        """
        with self._lock:
            if self._made_for != settings or (not settings.remote and not self.server_running):
                self._drop()
            if self._client is None:
                self._client = self._remote(settings) if settings.remote else self._local(settings)
                self._made_for = settings
            if self._closed:
                self._drop()
                raise LeadlineError("the add-on was disabled")
            return self._client

    def python(self, settings: ServerSettings) -> Path | None:
        """The interpreter of a server of ours; None for another server, or before one was found."""
        if settings.remote:
            return None
        return Path(settings.python) if settings.python else self._found

    def hello(self, settings: ServerSettings) -> ServerInfo:
        """Ask the server who it is: the connection test."""
        return self.client(settings).hello(timeout_s=HELLO_TIMEOUT_S)

    def stop(self) -> None:
        """End the connection and the local server. Waits for neither: a server in the middle of a step takes seconds."""
        threading.Thread(target=self.stop_and_wait, name="leadline-stop", daemon=True).start()

    def close(self) -> None:
        """As :meth:`stop`, for good. Should Blender end meanwhile, the server notices and ends, too."""
        self._closed = True
        self.stop()

    def explained(self, error: LeadlineError, settings: ServerSettings) -> str:
        """What to tell somebody whose request went unanswered."""
        if settings.remote:
            return str(error)
        return (
            "the depth server on this computer stopped while it worked, perhaps for want of memory; "
            "press Generate to start it again, with a smaller model or a lower quality if it stops again"
        )

    def stop_and_wait(self) -> None:
        """As :meth:`stop`, and return once the server has ended: for worker threads."""
        with self._lock:
            self._drop()

    def _remote(self, settings: ServerSettings) -> Client:
        if not is_loopback(settings.address) and not settings.online:
            raise LeadlineError(
                "Blender is set to stay offline; to use a server on another computer, switch on "
                "Preferences > System > Network > Allow Online Access"
            )
        return Client(
            settings.address,
            timeout_s=REPLY_TIMEOUT_S,
            server_key=settings.server_key or None,
            client_keys=settings.key_file or None,
        )

    def _local(self, settings: ServerSettings) -> Client:
        if settings.python and not Path(settings.python).is_file():
            raise InputError(f"there is no {settings.python}; choose the Python that Leadline is installed in")
        if not settings.python and self._found is None:
            try:
                self._found = find_interpreter(isolated=True)
            except LeadlineError as error:
                raise NotInstalled(
                    "the depth server is not installed yet: press Install Server here or in the add-on's preferences"
                ) from error
        self._server = LocalServer(python=settings.python or self._found, isolated=True)
        self._server.start(START_TIMEOUT_S)
        return self._server.client(timeout_s=REPLY_TIMEOUT_S)

    def _drop(self) -> None:
        client, self._client = self._client, None
        server, self._server = self._server, None
        self._made_for = None
        if client is not None:
            client.close()
        if server is not None:
            server.stop()
