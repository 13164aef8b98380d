# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about the server."""

from __future__ import annotations

import bpy

from . import runtime
from .chosen import server_settings
from .leadline.serving.client.client import ServerInfo
from .running import TaskOperator
from .task import Report, Task


class LEADLINE_OT_test_connection(TaskOperator, bpy.types.Operator):
    """Reach the server, starting it if it is on this computer, and say in plain words what is wrong if that fails"""

    bl_idname = "leadline.test_connection"
    bl_label = "Test Connection"

    def begin(self, context: bpy.types.Context) -> Task:
        settings, link = server_settings(context), runtime.link

        def work(report: Report) -> ServerInfo:
            report.progress("reaching the server" if settings.remote else "starting the server", 0.0)
            return link.hello(settings)

        return Task(work, "Test")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        info: ServerInfo = task.result
        names = ", ".join(model.name for model in info.models) or "none"
        return f"The server answers ({info.server}). Models: {names}"


class LEADLINE_OT_stop_server(bpy.types.Operator):
    """End the server that Leadline started on this computer, and free its memory"""

    bl_idname = "leadline.stop_server"
    bl_label = "Stop Server"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return runtime.link.server_running and not runtime.busy()

    def execute(self, context: bpy.types.Context) -> set[str]:
        runtime.link.stop()
        runtime.say("INFO", "The server has stopped")
        return {"FINISHED"}


CLASSES = (LEADLINE_OT_test_connection, LEADLINE_OT_stop_server)
