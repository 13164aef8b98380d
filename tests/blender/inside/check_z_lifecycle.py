# SPDX-License-Identifier: GPL-3.0-or-later
"""Disabling in the middle of a run, uninstalling without leftovers, files that open without the add-on. Runs last."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import bpy
from check_running import slow_task
from conftest import MODULE, part, wait_until

OPERATORS = (
    "generate",
    "rebuild",
    "cancel",
    "sequence",
    "import_image",
    "add_reference",
    "test_connection",
    "stop_server",
)


def registered() -> list[str]:
    """Names of our classes that Blender knows."""
    kinds = (
        bpy.types.Panel,
        bpy.types.Operator,
        bpy.types.PropertyGroup,
        bpy.types.FileHandler,
        bpy.types.AddonPreferences,
    )
    names = [cls.__name__ for kind in kinds for cls in kind.__subclasses__() if cls.is_registered]
    return [name for name in names if "leadline" in name.lower()]


def test_everything_has_a_tooltip(extension):
    properties = part("properties")
    for group in (properties.LeadlineSettings,):
        for prop in group.bl_rna.properties:
            if prop.identifier not in ("rna_type", "name"):
                assert prop.description, f"{prop.identifier} has no tooltip"
    for name in OPERATORS:
        assert getattr(bpy.ops.leadline, name).get_rna_type().description


def test_disabled_and_enabled_again_during_a_run(settings):
    task = slow_task(settings)
    wait_until(lambda: task.tick() and task.fraction >= 0)
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert task.state.value == "cancelled"
    assert not registered()
    assert not hasattr(bpy.types.Scene, "leadline")
    assert not [t for t in threading.enumerate() if t.name.startswith("leadline") and t.is_alive()]
    bpy.ops.preferences.addon_enable(module=MODULE)
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.place = "REMOTE"
    assert registered()


def test_a_file_made_with_it_opens_without_it_and_with_it_again(settings, tmp_path):
    path = str(tmp_path / "scene.blend")
    settings.result = "DISPLACEMENT"
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.preferences.addon_disable(module=MODULE)
    bpy.ops.wm.open_mainfile(filepath=path)
    thing = next(o for o in bpy.data.objects if o.type == "MESH")
    assert [m.type for m in thing.modifiers] == ["DISPLACE"]
    assert thing.data.materials[0] is not None
    assert thing.modifiers[0].texture.image.size[0] > 0
    bpy.ops.preferences.addon_enable(module=MODULE)
    bpy.ops.wm.open_mainfile(filepath=path)
    bpy.context.view_layer.objects.active = next(o for o in bpy.data.objects if o.type == "MESH")
    assert bpy.ops.leadline.rebuild(result="RELIEF") == {"FINISHED"}


def test_uninstalled_nothing_is_left(settings):
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    folder = Path(bpy.utils.user_resource("EXTENSIONS"))
    assert list(folder.rglob("*leadline_blender*"))
    assert bpy.ops.extensions.package_uninstall(repo_index=repository(), pkg_id="leadline_blender") == {"FINISHED"}
    assert MODULE not in bpy.context.preferences.addons
    assert not registered()
    assert not hasattr(bpy.types.Scene, "leadline")
    assert not hasattr(bpy.types.Object, "leadline")
    assert not [h for h in bpy.app.handlers.load_pre if MODULE in getattr(h, "__module__", "")]
    drawers = getattr(bpy.types.TOPBAR_MT_file_import.draw, "_draw_funcs", [])
    assert not [f for f in drawers if MODULE in f.__module__]
    assert not [p for p in folder.rglob("*") if "leadline" in p.name or ("zmq" in p.name and p.is_file())]
    assert not [t for t in threading.enumerate() if t.name.startswith("leadline")]
    assert MODULE not in sys.modules


def repository() -> int:
    repositories = bpy.context.preferences.extensions.repos
    return next(i for i, r in enumerate(repositories) if r.module == "user_default")
