# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the server is, and how it gets here."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from . import runtime
from .host import present
from .install_ops import draw_install


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
        description="A Python that you installed Leadline in. Empty: the installed server, else look for one (LEADLINE_PYTHON, the leadline program, python3)",
        subtype="FILE_PATH",
    )
    torch: EnumProperty(  # type: ignore[valid-type]
        name="Computes On",
        description="Which PyTorch to install",
        items=[
            ("CPU", "Processor", "Works on every computer"),
            ("CUDA", "NVIDIA GPU", "Much quicker, if the computer has an NVIDIA graphics card; a larger download"),
        ],
        default="CPU",
    )
    wheels: StringProperty(  # type: ignore[valid-type]
        name="Folder of Wheels",
        description="Install from the .whl files in this folder, without the internet. Empty: download",
        subtype="DIR_PATH",
    )
    base_python: StringProperty(  # type: ignore[valid-type]
        name="Made With",
        description="The Python that the server's environment is made with. Empty: Blender's own",
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
        layout = present(self.layout)
        layout.use_property_split = True
        layout.row().prop(self, "place", expand=True)
        if self.place == "LOCAL":
            draw_install(layout, context)
            panel: Any = layout.panel  # the stub does not say that it returns two layouts
            header, body = panel("leadline_advanced", default_closed=True)
            header.label(text="Advanced")
            if body is not None:
                body.prop(self, "wheels")
                body.prop(self, "base_python")
                body.prop(self, "python")
        else:
            layout.prop(self, "address")
            layout.prop(self, "key_file")
            layout.prop(self, "server_key")
            if not bpy.app.online_access:
                layout.label(text="Blender is offline: only addresses on this computer work", icon="INTERNET_OFFLINE")
        row = layout.row()
        row.operator("leadline.test_connection", icon="LINKED")
        row.operator("leadline.stop_server", icon="X")
        if runtime.busy():
            row = layout.row(align=True)
            task = present(runtime.task)
            row.progress(factor=task.fraction, type="BAR", text=task.text)
            row.operator("leadline.cancel", text="", icon="CANCEL")
        elif runtime.message.text:
            layout.label(text=runtime.message.text, icon="ERROR" if runtime.message.kind == "ERROR" else "INFO")


CLASSES = (LeadlinePreferences,)
