# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about the server."""

from __future__ import annotations

from dataclasses import replace

import bpy
from bpy.props import StringProperty

from leadline.errors import LeadlineError
from leadline.serving.client.client import ServerInfo

from . import catalogue, runtime
from .chosen import server_settings
from .host import Outcome, present
from .properties import settings_of
from .running import TaskOperator
from .task import Report, Task


class LEADLINE_OT_refresh_models(TaskOperator, bpy.types.Operator):
    """Ask the server which models it has, and what could be downloaded"""

    bl_idname = "leadline.refresh_models"
    bl_label = "List Models"

    def begin(self, context: bpy.types.Context) -> Task:
        settings, link = server_settings(context), runtime.link

        def work(report: Report) -> list[catalogue.Choice]:
            report.progress("asking for models", 0.0)
            have = catalogue.of_server(link.hello(settings))
            python = link.python(settings)
            return have + (catalogue.to_download(python, have) if python is not None else [])

        return Task(work, "Models")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        runtime.models[:] = task.result
        here = sum(choice.present for choice in task.result)
        return f"{here} models can be used, {len(task.result) - here} downloaded"


class LEADLINE_OT_choose_model(bpy.types.Operator):
    """Use this model"""

    bl_idname = "leadline.choose_model"
    bl_label = "Choose Model"
    bl_options = {"INTERNAL"}

    name: StringProperty()  # type: ignore[valid-type]

    def execute(self, context: bpy.types.Context) -> Outcome:
        settings_of(context).model = self.name
        return {"FINISHED"}


class LEADLINE_OT_download_model(TaskOperator, bpy.types.Operator):
    """Download the official weights of this model; a download that was stopped goes on where it was"""

    bl_idname = "leadline.download_model"
    bl_label = "Download Model"

    name: StringProperty()  # type: ignore[valid-type]

    def begin(self, context: bpy.types.Context) -> Task:
        if not bpy.app.online_access:
            raise LeadlineError(
                "Blender is set to stay offline: switch on Preferences > System > Network > Allow Online Access"
            )
        settings, link, name = server_settings(context), runtime.link, self.name

        def work(report: Report) -> str:
            python = link.python(settings)
            if python is None:
                raise LeadlineError("this server is not ours; its owner downloads models (leadline pull)")
            catalogue.download(report, python, name)
            link.stop_and_wait()  # the next one sees the new model
            return name

        return Task(work, "Download")

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        runtime.models[:] = [
            replace(choice, present=True) if choice.name == task.result else choice for choice in runtime.models
        ]
        settings_of(context).model = task.result
        return f"{task.result} is here"


class LEADLINE_MT_models(bpy.types.Menu):
    bl_idname = "LEADLINE_MT_models"
    bl_label = "Models"

    def draw(self, context: bpy.types.Context) -> None:
        layout = present(self.layout)
        for choice in runtime.models:
            if choice.present:
                layout.operator("leadline.choose_model", text=choice.line, translate=False).name = choice.name
        absent = [choice for choice in runtime.models if not choice.present]
        if absent:
            layout.separator()
            layout.label(text="Download")
        for choice in absent:
            row = layout.operator("leadline.download_model", text=choice.line, icon="IMPORT", translate=False)
            row.name = choice.name
        layout.separator()
        layout.operator("leadline.refresh_models", icon="FILE_REFRESH")


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
        runtime.models[:] = catalogue.of_server(info) + [choice for choice in runtime.models if not choice.present]
        names = ", ".join(model.name for model in info.models) or "none"
        return f"The server answers ({info.server}). Models: {names}"


class LEADLINE_OT_stop_server(bpy.types.Operator):
    """End the server that Leadline started on this computer, and free its memory"""

    bl_idname = "leadline.stop_server"
    bl_label = "Stop Server"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return runtime.link.server_running and not runtime.busy()

    def execute(self, context: bpy.types.Context) -> Outcome:
        runtime.link.stop()
        runtime.say("INFO", "The server has stopped")
        return {"FINISHED"}


CLASSES = (
    LEADLINE_OT_refresh_models,
    LEADLINE_OT_choose_model,
    LEADLINE_OT_download_model,
    LEADLINE_MT_models,
    LEADLINE_OT_test_connection,
    LEADLINE_OT_stop_server,
)
