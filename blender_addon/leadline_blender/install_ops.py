# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons that install the depth server, repair it and remove it."""

from __future__ import annotations

from pathlib import Path

import bpy

from leadline.errors import LeadlineError

from . import runtime
from .chosen import installation, preferences
from .host import Outcome, present
from .install import DISK_BYTES, SPARE_BYTES, Plan, bundled_wheel, chosen_by_environment
from .running import TaskOperator
from .task import Report, Task

#: The released package, if no wheel came with the extension.
RELEASED = "leadline"


class LEADLINE_OT_install_server(TaskOperator, bpy.types.Operator):
    """Install the part that computes: a Python environment with PyTorch in the extension's own folder. Blender's own Python stays as it is. Esc stops it"""

    bl_idname = "leadline.install_server"
    bl_label = "Install Server"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy()

    def begin(self, context: bpy.types.Context) -> Task:
        chosen, place = preferences(context), installation()
        wheels = Path(bpy.path.abspath(chosen.wheels)) if chosen.wheels else None
        if wheels is None and not bpy.app.online_access:
            raise LeadlineError(
                "Blender is set to stay offline: switch on Preferences > System > Network > Allow Online Access for the "
                "download, or choose a folder of wheels in the add-on's preferences"
            )
        wheel = bundled_wheel(Path(__file__).parent)
        plan = Plan(
            chosen.torch,
            RELEASED if wheel is None else str(wheel),
            wheels,
            Path(bpy.path.abspath(chosen.base_python)) if chosen.base_python else None,
        )
        link = runtime.link

        def work(report: Report) -> str:
            link.stop_and_wait()  # a server of the old installation holds its files
            return place.install(report, plan)

        return Task(work, "Install Server")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return f"{task.result}. Press Generate"


class LEADLINE_OT_remove_server(TaskOperator, bpy.types.Operator):
    """Remove the installed server with everything that belongs to it"""

    bl_idname = "leadline.remove_server"
    bl_label = "Remove Server"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy() and installation().started

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        if bpy.app.background or context.window is None:
            return self.execute(context)
        return present(context.window_manager).invoke_confirm(self, event)

    def begin(self, context: bpy.types.Context) -> Task:
        place, link = installation(), runtime.link

        def work(report: Report) -> str:
            report.progress("removing", 0.0)
            link.stop_and_wait()
            place.remove()
            return "The depth server is removed"

        return Task(work, "Remove Server")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        return task.result


class LEADLINE_OT_open_log(bpy.types.Operator):
    """Show what the installation said"""

    bl_idname = "leadline.open_log"
    bl_label = "Open Log"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return installation().log.is_file()

    def execute(self, context: bpy.types.Context) -> Outcome:
        bpy.ops.wm.path_open(filepath=str(installation().log))
        return {"FINISHED"}


def needs_server(context: bpy.types.Context) -> bool:
    """Whether somebody who presses Generate now would most likely be told that there is no server."""
    chosen = preferences(context)
    if chosen.place == "REMOTE" or chosen.python or runtime.link.server_running:
        return False
    return not installation().complete and not chosen_by_environment() and not runtime.link.found_one


def draw_install(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is needed, what it costs, and the button."""
    chosen, place = preferences(context), installation()
    column = layout.column(align=True)
    if place.complete:
        row = column.row(align=True)
        row.operator("leadline.install_server", text="Repair Server", icon="FILE_REFRESH")
        row.operator("leadline.remove_server", text="Remove", icon="TRASH")
        return
    needed = DISK_BYTES[chosen.torch] + SPARE_BYTES[chosen.torch]
    column.label(text="The part that computes is not installed yet", icon="INFO")
    column.label(text=f"{needed / 1e9:.1f} GB needed, {place.free_bytes() / 1e9:.0f} GB free")
    column.row().prop(chosen, "torch", expand=True)
    if not bpy.app.online_access and not chosen.wheels:
        column.operator("extensions.userpref_allow_online", text="Allow Online Access", icon="INTERNET")
    row = column.row()
    row.scale_y = 1.5
    row.operator("leadline.install_server", icon="IMPORT")
    if place.log.is_file():
        column.operator("leadline.open_log", icon="TEXT")


CLASSES = (LEADLINE_OT_install_server, LEADLINE_OT_remove_server, LEADLINE_OT_open_log)
