# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences say about the server, as values that a thread may keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import bpy

from .host import present
from .install import Installation
from .link import ServerSettings

if TYPE_CHECKING:

    class Preferences(bpy.types.AddonPreferences):
        """The values of preferences.py's properties; that file draws with what needs this one."""

        place: str
        python: str
        torch: str
        wheels: str
        base_python: str
        address: str
        key_file: str
        server_key: str


def preferences(context: bpy.types.Context) -> Preferences:
    return cast("Preferences", present(context.preferences).addons[__package__].preferences)


def installation() -> Installation:
    """The server that the add-on installed, or may install."""
    return Installation(Path(bpy.utils.extension_path_user(__package__)) / "server")


def server_settings(context: bpy.types.Context) -> ServerSettings:
    """The preferences as a value that a thread may keep."""
    found, installed = preferences(context), installation()
    python = bpy.path.abspath(found.python) if found.python else ""
    if not python and installed.complete:
        python = str(installed.python)
    return ServerSettings(
        remote=found.place == "REMOTE",
        address=found.address.strip(),
        server_key=found.server_key.strip(),
        key_file=bpy.path.abspath(found.key_file) if found.key_file else "",
        python=python,
        online=bpy.app.online_access,
    )
