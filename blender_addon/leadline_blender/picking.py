# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that wait for clicks on a surface before they do their work."""

from __future__ import annotations

from typing import Any, cast

import bpy
from bpy_extras import view3d_utils
from mathutils import Vector

from . import runtime
from .host import OperatorPart, Outcome, present

#: What the artist may go on doing between two clicks.
_NAVIGATION = frozenset({"MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "TRACKPADPAN", "TRACKPADZOOM", "MOUSEMOVE"})


class PickOperator(OperatorPart):
    """Mix-in: `take` gets the points that were clicked, then `execute` runs. Scripts set the points themselves."""

    #: What to click on, in order.
    wanted: tuple[str, ...] = ()

    def take(self, points: list[Vector]) -> None:
        """Keep the clicked points, in world space, as the operator's properties."""
        raise NotImplementedError

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        if bpy.app.background or context.window is None:
            return self.execute(context)
        self._points: list[Vector] = []
        context.window.cursor_modal_set("EYEDROPPER")
        present(context.window_manager).modal_handler_add(self)
        self._ask()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> Outcome:
        if event.type in _NAVIGATION:
            return {"PASS_THROUGH"}
        if event.type in ("ESC", "RIGHTMOUSE") and event.value == "PRESS":
            return self._leave(context, {"CANCELLED"})
        if event.type != "LEFTMOUSE" or event.value != "PRESS":
            return {"RUNNING_MODAL"}
        point = surface_at(context, event.mouse_x, event.mouse_y)
        if point is None:
            return {"RUNNING_MODAL"}
        self._points.append(point)
        if len(self._points) < len(self.wanted):
            self._ask()
            return {"RUNNING_MODAL"}
        self.take(self._points)
        return self._leave(context, self.execute(context))

    def cancel(self, context: bpy.types.Context) -> None:
        self._leave(context, set())

    def _ask(self) -> None:
        runtime.show_status(f"Click on {self.wanted[len(self._points)]}  |  Esc: stop")

    def _leave(self, context: bpy.types.Context, outcome: Outcome) -> Outcome:
        if context.window is not None:
            context.window.cursor_modal_restore()
        runtime.show_status(None)
        return outcome


def surface_at(context: bpy.types.Context, x: int, y: int) -> Vector | None:
    """The visible surface under a point of the window, in world space; None if there is none."""
    for area in present(context.screen).areas:
        space = area.spaces.active
        if not isinstance(space, bpy.types.SpaceView3D):
            continue
        for region in area.regions:
            inside = 0 <= x - region.x < region.width and 0 <= y - region.y < region.height
            if region.type != "WINDOW" or not inside:
                continue
            view, at = present(space.region_3d), (x - region.x, y - region.y)
            origin = view3d_utils.region_2d_to_origin_3d(region, view, at)
            direction = view3d_utils.region_2d_to_vector_3d(region, view, at)
            cast_ray: Any = present(context.scene).ray_cast  # the stub says that it returns nothing
            hit, point, *_ = cast_ray(context.evaluated_depsgraph_get(), origin, direction)
            return cast(Vector, point) if hit else None
    return None
