# SPDX-License-Identifier: GPL-3.0-or-later
"""The behaviour that all operators with a task share: modal with a timer in a window, blocking without one."""

from __future__ import annotations

import logging

import bpy

from leadline.errors import LeadlineError

from . import runtime
from .host import OperatorPart, Outcome, present
from .task import State, Task

_logger = logging.getLogger(__name__)


class TaskOperator(OperatorPart):
    """Mix-in for operators: `begin` starts a task, `finish` uses its result in the main thread.

    In a window the operator is modal: the thread works, a timer asks 20 times a second, Esc stops it. In background
    mode, and when it is called without a window, `execute` waits for the end.
    """

    def begin(self, context: bpy.types.Context) -> Task:
        """Start. Raises LeadlineError if there is nothing to do."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        """Use the result; returns a line for the user."""
        raise NotImplementedError

    def kept(self) -> str:
        """What was done already and stays when the task is stopped or fails, for the user; empty if nothing stays."""
        return ""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        if bpy.app.background or context.window is None:
            return self.execute(context)
        task = self._start(context)
        if task is None:
            return {"CANCELLED"}
        runtime.add_timer(context)
        present(context.window_manager).modal_handler_add(self)
        runtime.show_status(f"{task.line}  |  Esc: stop")
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        task = runtime.task
        if task is None or task is not self._task:
            return self._leave({"CANCELLED"})
        if event.type == "ESC" and event.value == "PRESS" and task.state is State.RUNNING:
            task.cancel()
        if event.type == "TIMER" and task.state is State.RUNNING and task.tick():
            runtime.show_status(f"{task.line}  |  Esc: stop")
            runtime.redraw()
        if task.state is State.RUNNING:
            return {"PASS_THROUGH"}
        return self._leave(self._end(context, task))

    def execute(self, context: bpy.types.Context) -> Outcome:
        task = self._start(context)
        if task is None:
            return {"CANCELLED"}
        task.wait()
        return self._end(context, task)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the modal operator: another file, a closed window."""
        if self._task is not None:
            self._task.cancel()
        self._leave(set())

    def _start(self, context: bpy.types.Context) -> Task | None:
        self._task = None
        if runtime.busy():
            self.report({"WARNING"}, "Leadline is at work already; stop it first (Esc)")
            return None
        try:
            self._task = runtime.begin(self.begin(context))
        except LeadlineError as error:
            self._fail(str(error))
        return self._task

    def _end(self, context: bpy.types.Context, task: Task) -> Outcome:
        kept = self.kept() if task.state is not State.DONE else ""
        if task.state is State.CANCELLED:
            text = f"Stopped: {kept}" if kept else "Stopped"
            runtime.say("INFO", text)
            self.report({"INFO"}, text)
            return {"FINISHED"} if kept else {"CANCELLED"}  # what stays is a step that can be undone
        if task.state is State.FAILED:
            return self._fail(f"{task.error} ({kept})" if kept else task.error, task.fix)
        try:
            text = self.finish(context, task)
        except (LeadlineError, ValueError) as error:
            return self._fail(str(error))
        except Exception as error:  # Blender must get its timer and status bar back whatever happens
            _logger.exception("building the result failed")
            return self._fail(f"this should not have happened ({type(error).__name__}: {error})")
        runtime.say("INFO", text)
        self.report({"INFO"}, text)
        return {"FINISHED"}

    def _fail(self, text: str, fix: str = "") -> Outcome:
        if text.split(" ", maxsplit=1)[0].isalpha():  # not an address or a file name
            text = text[:1].upper() + text[1:]
        runtime.say("ERROR", text, fix)
        # In background mode an ERROR report is raised as an exception by bpy.ops: what a script wants.
        self.report({"ERROR"}, text)
        return {"CANCELLED"}

    def _leave(self, outcome: Outcome) -> Outcome:
        runtime.remove_timer()
        runtime.show_status(None)
        runtime.redraw()
        return outcome
