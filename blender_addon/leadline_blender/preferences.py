# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server is."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, StringProperty

from . import runtime
from .link import ServerSettings


class LeadlinePreferences(bpy.types.AddonPreferences):
    bl_idname = __package__

    place: EnumProperty(  # type: ignore[valid-type]
        name="Server",
        description="Who computes the depth",
        items=[
            ("LOCAL", "This Computer", "Start a server here when it is needed, and end it with Blender"),
            ("REMOTE", "An Address", "Use a server that runs already, here or on another computer"),
        ],
        default="LOCAL",
    )
    python: StringProperty(  # type: ignore[valid-type]
        name="Python",
        description="The Python that Leadline is installed in. Empty: look for it (LEADLINE_PYTHON, the leadline program, python3)",
        subtype="FILE_PATH",
    )
    address: StringProperty(  # type: ignore[valid-type]
        name="Address",
        description="tcp://host:port, as `leadline serve` says when it starts",
        default="tcp://127.0.0.1:5570",
    )
    key_file: StringProperty(  # type: ignore[valid-type]
        name="Key File",
        description="The file that `leadline keys add` made for you, if the server wants keys",
        subtype="FILE_PATH",
    )
    server_key: StringProperty(  # type: ignore[valid-type]
        name="Server Key", description="Public key of the server (40 characters), if the key file does not hold it"
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.row().prop(self, "place", expand=True)
        if self.place == "LOCAL":
            layout.prop(self, "python")
        else:
            layout.prop(self, "address")
            layout.prop(self, "key_file")
            layout.prop(self, "server_key")
            if not bpy.app.online_access:
                layout.label(text="Blender is offline: only addresses on this computer work", icon="INTERNET_OFFLINE")
        row = layout.row()
        row.operator("leadline.test_connection", icon="LINKED")
        row.operator("leadline.stop_server", icon="X")
        kind, text = runtime.message
        if text:
            layout.label(text=text, icon=kind if kind == "ERROR" else "INFO")


def server_settings(context: bpy.types.Context) -> ServerSettings:
    """The preferences as a value that a thread may keep."""
    found = context.preferences.addons[__package__].preferences
    return ServerSettings(
        remote=found.place == "REMOTE",
        address=found.address.strip(),
        server_key=found.server_key.strip(),
        key_file=bpy.path.abspath(found.key_file) if found.key_file else "",
        python=bpy.path.abspath(found.python) if found.python else "",
        online=bpy.app.online_access,
    )


CLASSES = (LeadlinePreferences,)
