# SPDX-License-Identifier: GPL-3.0-or-later
"""A tour through the add-on in a real Blender window, with real clicks and keys; takes the pictures for the guide.

    blender --factory-startup --window-fullscreen --python gui_tour.py [-- large_photographs]

In a 1600×900 X display with a window manager, xdotool and ImageMagick. Beside this file lie `ext.zip` (the extension for
that Blender) and `photo.jpg`, and if wanted `panorama.jpg`, a folder `photographs`, a film `film/0001.jpg`, `film/0002.jpg` …
and a folder `large` of photographs for which the window's waits are measured;
a server answers at LEADLINE_TOUR_ADDRESS (tcp://127.0.0.1:5570). Left behind beside this
file: pictures, and `tour.json` with what was seen; "passed" is true if every step did what it should.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
from mathutils import Euler, Vector

HERE = Path(__file__).resolve().parent
MODULE = "bl_ext.user_default.leadline_blender"
ADDRESS = os.environ.get("LEADLINE_TOUR_ADDRESS", "tcp://127.0.0.1:5570")
#: Where the button is in a 1600×900 window with Blender's default layout: plain, and below the custom numbers.
GENERATE, GENERATE_CUSTOM, VIEWPORT = (1165, 288), (1165, 375), (600, 550)
seen: list[dict] = []


def note(**facts: object) -> None:
    seen.append(facts)
    passed = all(value is not False for fact in seen for value in fact.values()) and "end" in facts
    (HERE / "tour.json").write_text(json.dumps({"passed": passed, "seen": seen}, indent=1, default=str))


def picture(name: str) -> None:
    subprocess.run(["import", "-window", "root", str(HERE / f"blender-{name}.png")], check=True)


def click(place: tuple[int, int]) -> None:
    _input("mousemove", *place, "sleep", 0.3, "mousedown", 1, "mouseup", 1)


def press(key: str) -> None:
    _input("mousemove", *VIEWPORT, "sleep", 0.3, "key", key)


def _input(*words: object) -> None:
    subprocess.Popen(["xdotool", *map(str, words)])


def viewport() -> bpy.types.Area:
    return next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")


def sidebar() -> bpy.types.Region:
    return next(r for r in viewport().regions if r.type == "UI")


def panel(**values: object) -> None:
    """Set the panel's values; the scene is asked for anew, as an undo replaces it."""
    for name, value in values.items():
        setattr(bpy.context.scene.leadline, name, value)
    for region in viewport().regions:
        region.tag_redraw()


def meshes() -> list[str]:
    return sorted(o.name for o in bpy.data.objects if o.type == "MESH")


def look_from(degrees: tuple[float, float], at: tuple[float, float, float], distance: float) -> None:
    view = viewport().spaces.active.region_3d
    view.view_perspective = "PERSP"
    view.view_rotation = Euler((math.radians(degrees[0]), 0, math.radians(degrees[1]))).to_quaternion()
    view.view_location, view.view_distance = Vector(at), distance


def until(true: Callable[[], object], timeout_s: float = 120.0) -> Iterator[float]:
    end = time.monotonic() + timeout_s
    while not true() and time.monotonic() < end:
        yield 0.02


def tour() -> Iterator[float]:
    yield from prepare()
    asked = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    for step in STEPS:
        if not asked or step.__name__ in asked:
            yield from step()


def part(name: str) -> object:
    return sys.modules[f"{MODULE}.{name}"]


def prepare() -> Iterator[float]:
    """Install, point to the server, show the panel."""
    bpy.ops.extensions.package_install_files(
        filepath=str(HERE / "ext.zip"), repo="user_default", enable_on_install=True
    )
    note(
        blender=bpy.app.version_string, python=sys.version.split()[0], enabled=MODULE in bpy.context.preferences.addons
    )
    preferences = bpy.context.preferences.addons[MODULE].preferences
    preferences.place = "LOCAL"
    viewport().spaces.active.show_region_ui = True
    viewport().spaces.active.overlay.show_outline_selected = False
    panel(source="FILE", filepath=str(HERE / "photo.jpg"), long_edge=768)
    yield 0.5
    sidebar().active_panel_category = "Leadline"
    press("Escape")  # the splash screen
    yield 1.5
    picture("install")
    preferences.place, preferences.address = "REMOTE", ADDRESS
    yield 1.5
    bpy.ops.ed.undo_push(message="before")


def timed_ticks(task_module: object) -> list[float]:
    """From now on, the seconds of each turn that the window's thread takes for a task."""
    ticks: list[float] = []
    plain_tick = task_module.Task.tick

    def timed_tick(task: object) -> bool:
        started = time.perf_counter()
        changed = plain_tick(task)
        ticks.append(time.perf_counter() - started)
        return changed

    task_module.Task.tick = timed_tick
    return ticks


def stopped_with_escape() -> Iterator[float]:
    """A long run, with a picture of its progress."""
    runtime, task_module = part("runtime"), part("task")
    ticks = timed_ticks(task_module)
    before = meshes()
    panel(quality="CUSTOM", model="depthfm-mini", steps=64, ensemble=6, size=448)
    yield 1.5
    click(GENERATE_CUSTOM)
    yield from until(runtime.busy, 60)
    note(button_starts_it=runtime.busy())
    yield from until(lambda: runtime.task.fraction > 0.02)
    yield 1.5
    picture("progress")
    note(
        still_busy=runtime.busy(),
        stage=runtime.task.stage,
        ticks=len(ticks),
        longest_tick_ms=round(max(ticks) * 1e3, 3),
    )
    press("Escape")
    started = time.monotonic()
    yield from until(lambda: not runtime.busy(), 20)
    note(escape_stops_it=runtime.task.state.value == "cancelled", after_s=round(time.monotonic() - started, 2))
    note(nothing_left=meshes() == before)


def generated_undone_redone() -> Iterator[float]:
    """A run to the end; undone and redone by keyboard."""
    runtime = part("runtime")
    before = meshes()
    shading = viewport().spaces.active.shading
    note(grey_at_first=shading.color_type == "MATERIAL")
    panel(quality="BALANCED", model="fiffdepth-mini", near_m=2.0, far_m=6.0)
    yield 1.5
    click(GENERATE)
    yield from until(runtime.busy, 60)
    yield from until(lambda: meshes() != before and not runtime.busy(), 300)
    yield 3.0
    picture("first-sight")
    note(photograph_visible=shading.color_type == "TEXTURE", matched=bpy.context.scene.camera.parent is not None)
    note(generated=meshes() != before, message=runtime.message[1], camera=bpy.context.scene.camera is not None)
    press("ctrl+z")
    yield from until(lambda: meshes() == before, 60)
    cameras = [o for o in bpy.data.objects if o.type == "CAMERA"]
    note(one_undo_removes_everything=meshes() == before and len(cameras) == 1)
    press("ctrl+shift+z")
    yield from until(lambda: meshes() != before, 60)
    note(redo_brings_it_back=meshes() != before)
    yield 1.0
    viewport().spaces.active.region_3d.view_perspective = "CAMERA"
    yield 3.0
    picture("camera")


def filled_behind_and_moved() -> Iterator[float]:
    """From the side: with gaps, then with what is behind filled."""
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.photo is not None)
    bpy.context.view_layer.objects.active = thing
    matched = thing.leadline.camera.matrix_world.translation
    for fill in (False, True):
        panel(fill_behind=fill)
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):
            bpy.ops.leadline.rebuild("EXEC_DEFAULT", fill_behind=fill)
        view = viewport().spaces.active.region_3d
        view.view_perspective = "PERSP"
        view.view_rotation = Euler((math.radians(88), 0, math.radians(9))).to_quaternion()
        view.view_location, view.view_distance = matched + Vector((0, 4.0, 0)), 4.4
        yield 3.0
        picture("filled" if fill else "scene")
    note(filled=thing.leadline.behind is not None)


def updated_to_displacement() -> Iterator[float]:
    """The same photograph as a displacement: the same object is updated."""
    runtime = part("runtime")
    before = [name for name in meshes() if not name.endswith("behind")]
    panel(result="DISPLACEMENT", long_edge=512, height_m=0.5)
    yield 1.0
    click(GENERATE)
    yield from until(runtime.busy, 60)
    yield from until(lambda: not runtime.busy())
    yield 1.0
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.photo is not None)
    note(same_object=meshes() == before, modifier=[m.type for m in thing.modifiers] == ["DISPLACE"])
    properties = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "PROPERTIES")
    properties.spaces.active.context = "MODIFIER"
    look_from((72, 30), tuple(thing.matrix_world.translation), 4.0)
    yield 3.0
    picture("displacement")


def live_and_baked() -> Iterator[float]:
    """A live relief, its inputs in the panel; half of its range flat."""
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.photo is not None)
    bpy.context.view_layer.objects.active = thing
    panel(result="RELIEF", use_live=True, cut_relief=False)
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):
        bpy.ops.leadline.rebuild("EXEC_DEFAULT", result="RELIEF", use_live=True, height_m=0.5)
    live = part("live")
    live.write(thing, "Farthest", 0.35)
    look_from((72, 30), tuple(thing.matrix_world.translation), 4.0)
    yield 3.0
    picture("live")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):
        bpy.ops.leadline.bake("EXEC_DEFAULT")
    note(baked=not thing.modifiers and len(thing.data.polygons) > 1000)


def painted() -> Iterator[float]:
    """A stroke with the real mouse, seen over the photograph; then applied."""
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.photo is not None)
    panel(result="PERSPECTIVE", use_live=False)
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):
        bpy.ops.leadline.rebuild("EXEC_DEFAULT", result="PERSPECTIVE", use_live=False, use_cut=False)
        part("sight").show(bpy.context, thing)
        bpy.ops.leadline.paint("EXEC_DEFAULT", brush="NEARER")
    yield 8.0  # the material is compiled
    x, y = VIEWPORT
    _input(
        "mousemove",
        x - 120,
        y - 100,
        "mousedown",
        1,
        "mousemove",
        x,
        y - 100,
        "mousemove",
        x + 120,
        y - 60,
        "mouseup",
        1,
    )
    yield 3.0
    picture("paint")
    image = thing.leadline.paint
    if bpy.context.scene.tool_settings.image_paint.brush is None:  # a Blender that was built without its brushes
        note(brush="none")
        bpy.ops.object.mode_set(mode="OBJECT")
        return
    note(stroke_lands=max(image.pixels[:][3::4]) > 0.5, mode=bpy.context.mode)
    before = [v.co.z for v in thing.data.vertices]
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=viewport()):
        bpy.ops.leadline.apply_paint("EXEC_DEFAULT")
    yield 1.0
    after = [v.co.z for v in thing.data.vertices]
    note(paint_moves=len(after) == len(before) and max(a - b for a, b in zip(after, before, strict=True)) > 0.05)
    note(back_in_object_mode=bpy.context.mode == "OBJECT")


def in_the_viewport() -> object:
    return bpy.context.temp_override(
        window=bpy.context.window_manager.windows[0], area=viewport(), region=viewport().regions[-1]
    )


def alone(*shown: bpy.types.Object) -> None:
    """Hide whatever is not in ``shown``, and everything that is drawn over the scene."""
    keep = {part for thing in shown for part in (thing, *thing.children_recursive)}
    for thing in bpy.context.scene.objects:
        thing.hide_set(thing not in keep)
    viewport().spaces.active.overlay.show_overlays = False
    viewport().spaces.active.show_gizmo = False


def updated_while_the_window_works() -> Iterator[float]:
    """Update Mesh as the button starts it: it ends by itself, the window works meanwhile, and one undo takes it back."""
    runtime = part("runtime")
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.photo is not None)
    bpy.context.view_layer.objects.active = thing
    panel(result="PERSPECTIVE", use_cut=True, fill_behind=True, long_edge=1024, use_live=False)
    before, name = len(thing.data.vertices), thing.name
    with in_the_viewport():
        note(starts=bpy.ops.leadline.rebuild("INVOKE_DEFAULT") == {"RUNNING_MODAL"})
    note(at_work=runtime.busy())
    yield from until(lambda: not runtime.busy(), 60)
    yield 1.0
    updated = len(bpy.data.objects[name].data.vertices)
    note(updated=updated != before, message=runtime.message.text)
    press("ctrl+z")
    yield from until(lambda: len(bpy.data.objects[name].data.vertices) == before, 30)
    note(one_undo=len(bpy.data.objects[name].data.vertices) == before)
    press("ctrl+shift+z")
    yield from until(lambda: len(bpy.data.objects[name].data.vertices) == updated, 30)
    note(redo=len(bpy.data.objects[name].data.vertices) == updated)


def moved_past_what_was_filled() -> Iterator[float]:
    """An orbit round a filled scene, seen through its camera."""
    thing = next(o for o in bpy.data.objects if o.type == "MESH" and o.leadline.behind is not None)
    bpy.context.view_layer.objects.active = thing
    with in_the_viewport():
        bpy.ops.leadline.camera_move("EXEC_DEFAULT", move="SLIDE", frames=24)
    alone(thing)
    viewport().spaces.active.region_3d.view_perspective = "CAMERA"
    bpy.context.scene.frame_set(24)
    yield 3.0
    picture("move")
    turned = thing.leadline.camera.matrix_world.inverted() @ bpy.context.scene.camera.matrix_world
    note(move=bpy.context.scene.camera != thing.leadline.camera, level=turned.to_3x3()[1][1] > 0.99)


def folder_of_photographs() -> Iterator[float]:
    """A folder, if one lies beside this file: an object for each photograph, side by side."""
    runtime, folder = part("runtime"), HERE / "photographs"
    if not folder.exists():
        return
    alone()
    before = set(bpy.context.scene.objects)
    panel(batch_folder=str(folder), batch_result="OBJECTS", quality="BALANCED", fill_behind=True, long_edge=512)
    with in_the_viewport():
        bpy.ops.leadline.batch("INVOKE_DEFAULT")
    yield from until(lambda: not runtime.busy(), 900)
    yield 1.0
    made = [o for o in set(bpy.context.scene.objects) - before if o.type == "MESH" and o.leadline.photo is not None]
    note(folder=len(made) == len(list(folder.iterdir())), message=runtime.message.text)
    alone(*made)
    middle = sum((o.matrix_world.translation for o in made), Vector()) / len(made)
    look_from((84, 3), tuple(middle + Vector((1.3, 3, -0.1))), 14.0)
    yield 3.0
    picture("folder")


def film_as_a_scene() -> Iterator[float]:
    """A film, if one lies beside this file: for each frame its own surface."""
    runtime, first = part("runtime"), HERE / "film" / "0001.jpg"
    if not first.exists():
        return
    alone()
    panel(sequence_path=str(first), sequence_result="PERSPECTIVE", quality="FAST", long_edge=512)
    with in_the_viewport():
        bpy.ops.leadline.sequence("INVOKE_DEFAULT")
    yield from until(lambda: not runtime.busy(), 900)
    yield 1.0
    thing = bpy.context.view_layer.objects.active
    note(film=bool(thing.modifiers), message=runtime.message.text)
    alone(thing)
    part("live").write(thing, "Steepest", math.radians(86))
    look_from((82, 10), tuple(thing.matrix_world.translation + Vector((0, 3.5, 0))), 4.4)
    bpy.context.scene.frame_set(len(list(first.parent.glob("*.jpg"))))
    yield 3.0
    picture("film")


def panorama_from_inside() -> Iterator[float]:
    """A panorama, if one lies beside this file."""
    runtime, before = part("runtime"), meshes()
    file = HERE / "panorama.jpg"
    if not file.exists():
        return
    panel(result="PANORAMA", filepath=str(file), near_m=1.0, far_m=5.0)
    yield 1.0
    click(GENERATE)
    yield from until(runtime.busy, 60)
    yield from until(lambda: not runtime.busy(), 900)
    yield 3.0
    picture("panorama")
    note(panorama=len(meshes()) == len(before) + 1, message=runtime.message[1])


def memory_mb(name: str) -> int:
    """VmRSS: of the process now; VmHWM: the highest since it was forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) // 1024


def large_photographs() -> Iterator[float]:
    """Photographs of many megapixels, if a folder of them lies beside this file: how long the window waits, and for what."""
    runtime, results, folder = part("runtime"), part("results"), HERE / "large"
    if not folder.exists():
        return
    alone()
    now = {"what": "nothing"}
    waits: dict[str, float] = {}
    memory: list[int] = []
    last = [time.perf_counter()]

    def watch() -> float:
        here = time.perf_counter()
        waits[now["what"]] = max(waits.get(now["what"], 0.0), round(here - last[0], 3))
        last[0] = here
        if now["what"] == "object":
            now["what"] = "after"
        return 0.005

    plain_realise = results.realise

    def realise(*args: object, **kwargs: object) -> object:
        now["what"] = "object"
        memory.append(memory_mb("VmHWM"))
        thing = plain_realise(*args, **kwargs)
        memory.append(memory_mb("VmHWM"))
        return thing

    results.realise = realise
    bpy.app.timers.register(watch)
    ticks = timed_ticks(part("task"))
    for file in sorted(folder.iterdir()):
        panel(result="PERSPECTIVE", source="FILE", filepath=str(file), quality="FAST", long_edge=768, use_live=False)
        bpy.ops.object.select_all(action="DESELECT")
        bpy.context.view_layer.objects.active = None
        yield 3.0
        waits.clear()
        now["what"] = "nothing"
        yield 3.0
        before = set(bpy.data.objects)
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
        memory[:] = [memory_mb("VmRSS")]
        now["what"] = "before"
        ticks.clear()
        started = time.perf_counter()
        with in_the_viewport():
            bpy.ops.leadline.generate("INVOKE_DEFAULT")
        begin_s = round(time.perf_counter() - started, 3)
        yield from until(lambda: not runtime.busy(), 600)
        yield 5.0
        size = next((i.size[:] for i in bpy.data.images if i.filepath == str(file)), None)
        note(large=file.name, pixels=size, new=len(set(bpy.data.objects) - before) > 0, longest_waits_s=dict(waits))
        note(begin_s=begin_s, longest_turn_s=round(max(ticks), 3))
        note(mb_before=memory[0], highest_mb_till_object=memory[1], with_it=memory[2], and_shown=memory_mb("VmHWM"))
        alone()
    bpy.app.timers.unregister(watch)


STEPS = (
    stopped_with_escape,
    generated_undone_redone,
    filled_behind_and_moved,
    updated_to_displacement,
    live_and_baked,
    painted,
    updated_while_the_window_works,
    moved_past_what_was_filled,
    folder_of_photographs,
    film_as_a_scene,
    panorama_from_inside,
    large_photographs,
)
steps = tour()


def drive() -> float | None:
    try:
        return next(steps)
    except StopIteration:
        note(end=True)
    except Exception:
        note(failed=False, traceback=traceback.format_exc())
    bpy.ops.preferences.addon_disable(module=MODULE)
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(drive, first_interval=4)
