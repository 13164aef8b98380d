# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender is told about, in order; taken back in reverse, after everything that runs has been stopped."""

from __future__ import annotations

import bpy

from . import (
    batch_ops,
    drop,
    generate,
    install_ops,
    lens_ops,
    live_ops,
    maps_ops,
    normals_ops,
    own_depth,
    paint_ops,
    panel,
    preferences,
    properties,
    rebuild,
    references,
    runtime,
    sequence_ops,
    server_ops,
    shot,
    straighten_ops,
    translations,
)

_MODULES = (
    properties,
    preferences,
    server_ops,
    install_ops,
    generate,
    lens_ops,
    live_ops,
    maps_ops,
    normals_ops,
    batch_ops,
    own_depth,
    paint_ops,
    rebuild,
    references,
    straighten_ops,
    sequence_ops,
    shot,
    drop,
    panel,
)


def register() -> None:
    translations.register()
    for module in _MODULES:
        for cls in module.CLASSES:
            bpy.utils.register_class(cls)
    properties.attach()
    bpy.types.TOPBAR_MT_file_import.append(drop.draw_import_menu)
    bpy.app.handlers.load_pre.append(_before_load)


def unregister() -> None:
    runtime.shut_down()
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.types.TOPBAR_MT_file_import.remove(drop.draw_import_menu)
    properties.detach()
    for module in reversed(_MODULES):
        for cls in reversed(module.CLASSES):
            bpy.utils.unregister_class(cls)
    translations.unregister()


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _before_load(*_: object) -> None:
    """Another file is about to be opened: what runs belongs to this one."""
    runtime.stop_job()
