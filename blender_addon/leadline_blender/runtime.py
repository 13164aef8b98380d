# SPDX-License-Identifier: GPL-3.0-or-later
"""What lives as long as the add-on is enabled and belongs to no file: the running task, the link to the server."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import bpy

from .catalogue import Choice
from .host import present
from .link import Link
from .task import State, Task

link = Link()
task: Task | None = None


class Message(NamedTuple):
    """The last outcome in words, shown in the panel. ``kind``: INFO or ERROR; ``fix``: the operator that helps."""

    kind: str
    text: str
    fix: str = ""


message = Message("INFO", "")

#: What can be chosen in the panel, as far as a server has said.
models: list[Choice] = []

_timer: Any = None
#: A cancelled thread ends by itself; disabling the add-on does not wait for what the network still does.
_JOIN_S = 0.2


def busy() -> bool:
    return task is not None and task.state is State.RUNNING


def begin(new: Task) -> Task:
    global task, message
    task, message = new, Message("INFO", "")
    return new


def say(kind: str, text: str, fix: str = "") -> None:
    global message
    message = Message(kind, text, fix)
    redraw()


def add_timer(context: bpy.types.Context) -> None:
    global _timer
    remove_timer()
    _timer = present(context.window_manager).event_timer_add(0.05, window=context.window)


def remove_timer() -> None:
    global _timer
    if _timer is not None:
        # If the window that it belonged to is gone, so is the timer.
        with contextlib.suppress(ReferenceError, RuntimeError, ValueError):
            present(bpy.context.window_manager).event_timer_remove(_timer)
        _timer = None


def show_status(text: str | None) -> None:
    """Text for the status bar of all windows; None gives it back to Blender."""
    for workspace in bpy.data.workspaces:
        workspace.status_text_set(text)


def redraw() -> None:
    """Have every 3D viewport draw its sidebar again; the scene beside it is left alone, as that may take long."""
    for window in bpy.context.window_manager.windows if bpy.context.window_manager else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def stop_job() -> None:
    if task is not None:
        task.cancel()
    remove_timer()
    if not bpy.app.background:
        show_status(None)


def shut_down() -> None:
    """Leave nothing behind: no thread at work, no timer, no server."""
    global task, link
    stop_job()
    if task is not None:
        task.join(_JOIN_S)
        task = None
    link.close()
    link = Link()  # the module stays loaded; the add-on may be enabled again
