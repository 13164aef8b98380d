# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs as people have them: turned by the camera, very large, transparent, rendered; and copies of objects."""

from __future__ import annotations

import os
import struct
import threading
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from check_results import attribute, evaluated_positions, generate, positions, vertex_uv
from conftest import local_servers, part, wait_until


def saved(path, colours: np.ndarray, kind: str = "JPEG") -> str:
    """colours: float (H, W, 3 or 4), row 0 at the top."""
    height, width = colours.shape[:2]
    image = bpy.data.images.new("to save", width, height, alpha=colours.shape[2] == 4)
    flat = np.ones((height, width, 4), np.float32)
    flat[..., : colours.shape[2]] = colours[::-1]
    image.pixels.foreach_set(flat.ravel())
    image.filepath_raw, image.file_format = str(path), kind
    image.save()
    bpy.data.images.remove(image)
    return str(path)


def turn(path: str, orientation: int) -> str:
    """Write an EXIF orientation into a JPEG file."""
    with open(path, "rb") as file:
        content = file.read()
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    block = b"Exif\0\0" + tiff
    with open(path, "wb") as file:
        file.write(content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:])
    return path


@pytest.fixture
def portrait(tmp_path) -> str:
    """A phone photograph: stored lying, 120×80, upright 80×120; the sky (blue) is on the stored left."""
    stored = np.empty((80, 120, 3), np.float32)
    stored[:] = np.linspace(0.2, 0.6, 80)[:, None, None]
    stored[:, :40] = (0.1, 0.2, 0.9)
    return turn(saved(tmp_path / "phone.jpg", stored), 6)


def seen_colours(thing, image) -> np.ndarray:
    """The texture at each vertex."""
    pixels = part("photos").pixels_of(image)
    uv = vertex_uv(thing).clip(1e-4, 1 - 1e-4)
    return pixels[((1 - uv[:, 1]) * pixels.shape[0]).astype(int), (uv[:, 0] * pixels.shape[1]).astype(int), :3]


@pytest.mark.parametrize("result", ["PERSPECTIVE", "RELIEF", "DISPLACEMENT"])
def test_a_phone_photograph_stands_upright(settings, portrait, result):
    thing = generate(filepath=portrait, result=result, use_cut=False)
    where = positions(thing)
    assert np.ptp(where[:, 1]) > 1.2 * np.ptp(where[:, 0]), "it lies on its side"
    blue = seen_colours(thing, thing.leadline.photo)[:, 2] > 180
    top = where[:, 1] > np.percentile(where[:, 1], 75)
    bottom = where[:, 1] < np.percentile(where[:, 1], 25)
    assert blue[top].mean() > 0.95
    assert blue[bottom].mean() < 0.05
    if result == "PERSPECTIVE":
        render = bpy.context.scene.render
        assert (render.resolution_x, render.resolution_y) == (80, 120)
        # The depth image lies as the photograph does, and says what the vertices say.
        stored = part("photos").read_map(thing.leadline.depth)
        assert stored.shape == (80, 120)
        uv = vertex_uv(thing)
        looked_up = stored[((1 - uv[:, 1]) * 79.99).astype(int), (uv[:, 0] * 119.99).astype(int)]
        assert np.median(np.abs(looked_up / attribute(thing, "depth") - 1)) < 0.02
        assert bpy.ops.leadline.rebuild() == {"FINISHED"}
        np.testing.assert_allclose(positions(thing), where, rtol=0.02, atol=1e-4)
    if result == "DISPLACEMENT":
        risen = evaluated_positions(thing)[:, 2]
        assert bpy.ops.leadline.rebuild(result="RELIEF", use_cut=False) == {"FINISHED"}
        assert np.abs(positions(thing)[:, 2] - risen).mean() < 0.03, "relief and displacement disagree"


def test_frames_of_a_turned_sequence_and_their_texture_agree(settings, portrait, tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    with open(portrait, "rb") as file:
        content = file.read()
    for number in (1, 2):
        (folder / f"f_{number:03d}.jpg").write_bytes(content)
    settings.sequence_path = str(folder / "f_001.jpg")
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    thing = bpy.context.active_object
    where = positions(thing)
    assert np.ptp(where[:, 1]) > 1.2 * np.ptp(where[:, 0])
    image = bpy.data.images.load(portrait)
    blue = seen_colours(thing, image)[:, 2] > 180
    assert blue[where[:, 1] > 0.4 * where[:, 1].max()].mean() > 0.95
    risen = evaluated_positions(thing)[:, 2]
    still = generate(filepath=portrait, result="RELIEF", use_cut=False, quality="FAST")
    assert np.corrcoef(positions(still)[:, 2], risen)[0, 1] > 0.98, "the depth lies across the picture"


def test_a_photograph_of_48_megapixels(settings, tmp_path):
    """More than a server takes: Blender scales it down before it is sent."""
    path = saved(tmp_path / "large.jpg", np.full((6000, 8000, 3), 0.5, np.float32))
    thing = generate(filepath=path, use_cut=False)
    assert tuple(thing.leadline.photo.size) == (8000, 6000)
    assert max(thing.leadline.depth.size) <= part("photos").WORKING_EDGE
    assert (bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y) == (8000, 6000)


def ticked(task) -> list[float]:
    """Processor seconds of each tick, until the task is done."""
    ticks = []
    while task.state is part("task").State.RUNNING:
        before = time.thread_time()
        task.tick()
        ticks.append(time.thread_time() - before)
        time.sleep(0.002)
    return ticks


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_large_photographs_are_read_without_being_decoded_in_the_window(settings, tmp_path, kind):
    path = saved(tmp_path / f"large.{kind.lower()}", np.full((2000, 3000, 3), 0.5, np.float32), kind)
    image = bpy.data.images.load(path)
    photos = part("photos")
    task = part("task").Task(lambda report: photos.read(report, lambda: image).picture())
    task.wait()
    picture = task.result
    assert picture.shape == (1365, 2048, 4)
    assert abs(int(picture[700, 1000, 0]) - 128) < 3
    assert not image.has_data, "Blender decoded it in the window's thread"


def test_a_photograph_is_decoded_by_blender_only_to_show_it(settings, tmp_path):
    """Its size, its transparency and what lies behind come from elsewhere."""
    path = saved(tmp_path / "large.png", np.full((2000, 3000, 3), 0.5, np.float32), "PNG")
    thing = generate(filepath=path, result="PERSPECTIVE", fill_behind=True, use_sky=True)
    assert not thing.leadline.photo.has_data
    assert (bpy.context.scene.render.resolution_x, bpy.context.scene.render.resolution_y) == (3000, 2000)


def in_place(image, edge: int):
    """What this Blender itself makes of an image."""
    copy = image.copy()
    shrink = edge / max(copy.size)
    copy.scale(*(round(side * shrink) for side in copy.size))
    numbers = part("photos").stored(copy, part("photos").orientation_of(image))
    bpy.data.images.remove(copy)
    return numbers


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "colours", "alpha"),
    [("PNG", "", ""), ("PNG", "Non-Color", "CHANNEL_PACKED"), ("TIFF", "", ""), ("OPEN_EXR", "", "PREMUL")],
)
def test_a_second_blender_reads_what_this_one_would(settings, tmp_path, kind, colours, alpha, packed):
    photos, task = part("photos"), part("task")
    given = np.random.default_rng(0).uniform(0.1, 0.9, (40, 300, 4)).repeat(2, 0).repeat(8, 1)
    path = saved(tmp_path / "picture", given, kind)
    image = bpy.data.images.load(path)
    image.colorspace_settings.name = colours or image.colorspace_settings.name
    image.alpha_mode = alpha or image.alpha_mode
    if packed:
        image.pack()
        os.remove(path)
    reading = task.Task(lambda report: photos.read(report, lambda: image, 600))
    reading.wait()
    assert not reading.error
    here = in_place(image, 600)
    assert reading.result.values.shape == here.values.shape == (20, 600, image.channels)
    assert (reading.result.linear, reading.result.orientation) == (here.linear, here.orientation)
    np.testing.assert_array_equal(reading.result.values, here.values)


def test_a_large_painted_image_is_read_as_it_was_painted(settings, tmp_path):
    """Nothing but memory has it; and one that no second Blender can read is decoded in the first."""
    photos, task = part("photos"), part("task")
    path = saved(tmp_path / "large.png", np.full((500, 3000, 3), 0.5, np.float32), "PNG")
    image = bpy.data.images.load(path)
    painted = np.ones((500, 3000, 4), np.float32)
    painted[:, :1500, :3] = 0.2
    image.pixels.foreach_set(painted.ravel())
    assert image.is_dirty
    photo = photos.photo_from_image(image)
    reading = task.Task(photo.content)
    reading.wait()
    assert reading.result.shape == (341, 2048, 3)
    assert set(np.unique(reading.result[:, :1020])) == {51}
    assert set(np.unique(reading.result[:, 1030:])) == {255}


def test_without_a_second_blender_the_first_decodes(settings, tmp_path, monkeypatch):
    photos, task = part("photos"), part("task")
    path = saved(tmp_path / "large.png", np.full((500, 3000, 3), 0.5, np.float32), "PNG")
    image = bpy.data.images.load(path)
    for command in (["false"], [str(tmp_path / "no such program")]):
        monkeypatch.setattr(part("host"), "blender_command", lambda command=command: command)
        reading = task.Task(lambda report: photos.read(report, lambda: image).picture())
        reading.wait()
        assert reading.result.shape == (341, 2048, 4)
        assert abs(int(reading.result[100, 1000, 0]) - 128) < 3


def test_stopping_ends_the_second_blender(settings, tmp_path, monkeypatch):
    photos, task = part("photos"), part("task")
    path = saved(tmp_path / "large.png", np.full((500, 3000, 3), 0.5, np.float32), "PNG")
    image = bpy.data.images.load(path)
    script = tmp_path / "slow.py"
    note = tmp_path / "started"
    script.write_text(f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    monkeypatch.setattr(part("host"), "blender_command", lambda: [os.environ["LEADLINE_TEST_PYTHON"], str(script)])
    reading = task.Task(lambda report: photos.read(report, lambda: image))

    def started() -> bool:
        reading.tick()
        return note.exists() and bool(note.read_text())

    wait_until(started)
    reading.cancel()
    assert reading.join(5)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_file_is_read_in_the_thread(photo, tmp_path, monkeypatch):
    """Disks may be slow; the window's thread reads no more than the head."""
    photos, tasks = part("photos"), part("task")
    path, plain, readers = tmp_path / "here.jpg", Path.read_bytes, []
    path.write_bytes(Path(photo).read_bytes())
    monkeypatch.setattr(Path, "read_bytes", lambda self: readers.append(threading.current_thread()) or plain(self))
    given = photos.photo_from_file(str(path))
    task = tasks.Task(given.content)
    ticked(task)
    assert task.result == plain(path)
    assert readers
    assert threading.main_thread() not in readers
    path.unlink()
    task = tasks.Task(given.content)
    while task.state is tasks.State.RUNNING:
        task.tick()
    assert "here.jpg cannot be read" in task.error


@pytest.mark.parametrize("named", [True, False])
def test_24_megapixels_in_a_blend_file_are_sent_as_they_lie_there(settings, tmp_path, named):
    """Packed, and the file is gone: Blender need not decode it before the server is asked, nor read all its pixels."""
    path = saved(tmp_path / "large.jpg", np.full((4000, 6000, 3), 0.5, np.float32))
    content = Path(path).read_bytes()
    image = bpy.data.images.load(path)
    image.pack()
    os.remove(path)
    if not named:
        image.filepath = ""
    photos = part("photos")
    before = time.thread_time()
    photo = photos.photo_from_image(image)
    begin = time.thread_time() - before
    assert photo.sent == content
    task = part("task").Task(lambda report: photos.read(report, lambda: image).picture())
    ticks = ticked(task)
    print(f"begin {begin * 1e3:.0f} ms, longest tick {max(ticks) * 1e3:.0f} ms of processor time")
    assert task.result.shape == (1365, 2048, 4)
    assert abs(int(task.result[700, 1000, 0]) - 128) < 3
    assert begin < 0.2
    assert not image.has_data, "Blender decoded it in the window's thread"


def test_f12_keeps_fine_detail_unless_the_scene_has_a_filter_of_its_own(settings, tmp_path):
    fine = np.random.default_rng(0).uniform(0.3, 0.7, (120, 180, 1)) * np.ones(3)
    fine = (fine[:-1] + fine[1:])[:, :-1] / 4 + (fine[:-1] + fine[1:])[:, 1:] / 4
    photo = saved(tmp_path / "fine.png", fine, "PNG")
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    panel, scene = bpy.context.scene.leadline, bpy.context.scene
    panel.source, panel.filepath, panel.quality, panel.long_edge = "FILE", photo, "FAST", 0
    original = part("photos").pixels_of(generate(result="PERSPECTIVE").leadline.photo)[..., :3].astype(int)
    scene.render.engine, scene.cycles.samples = "CYCLES", 32
    scene.render.filepath = str(tmp_path / "render.png")
    errors = []
    for width in (scene.cycles.filter_width, 1.5):
        scene.cycles.filter_width = width
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(scene.render.filepath)
        errors.append(np.abs(part("photos").pixels_of(image)[..., :3].astype(int) - original).mean())
        bpy.data.images.remove(image)
    print(f"MAE {errors[0]:.2f}/255, with Blender's own filter {errors[1]:.2f}")
    assert errors[0] < 0.8 * errors[1]
    scene.cycles.filter_width = 2.0
    generate(result="PERSPECTIVE")
    assert scene.cycles.filter_width == 2.0


def test_what_is_transparent_gets_no_surface(settings, tmp_path):
    colours = np.full((60, 90, 4), 0.7, np.float32)
    colours[:, :45, 3] = 0
    path = saved(tmp_path / "cut.png", colours, "PNG")
    for result in ("PERSPECTIVE", "RELIEF"):
        thing = generate(filepath=path, result=result, use_cut=False)
        assert vertex_uv(thing)[:, 0].min() > 0.45
        kinds = {node.bl_idname for node in thing.data.materials[0].node_tree.nodes}
        assert "ShaderNodeBsdfTransparent" in kinds
    assert {"ShaderNodeBsdfTransparent"}.isdisjoint(
        node.bl_idname
        for node in generate(filepath=os.environ["LEADLINE_TEST_PHOTO"]).data.materials[0].node_tree.nodes
    )


def test_update_existing_works_for_renders(settings):
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    scene.leadline.match_render = False
    made = []
    for colour in (0.1, 0.9):
        scene.world = scene.world or bpy.data.worlds.new("world")
        scene.world.use_nodes = True
        scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (colour, colour, colour, 1)
        bpy.ops.render.render()
        made.append(generate(source="RENDER"))
    assert made[0] == made[1]
    of_renders = {image.name for image in bpy.data.images if image.name.startswith("Leadline Render")}
    beside_it = {name for name in of_renders if "depth" in name or name == "Leadline Render behind"}
    assert of_renders - beside_it == {"Leadline Render"}
    assert part("photos").pixels_of(made[0].leadline.photo)[..., :3].mean() > 150, "the texture is still the old render"
    other = generate(source="RENDER", update_existing=False)
    assert other != made[0]
    assert other.leadline.photo != made[0].leadline.photo


def test_uncertainty_of_an_earlier_depth_goes(settings):
    thing = generate(quality="FINE")
    assert thing.leadline.uncertainty is not None
    assert "uncertainty" in thing.data.attributes
    assert generate(quality="FAST") == thing
    assert thing.leadline.uncertainty is None
    assert bpy.ops.leadline.rebuild() == {"FINISHED"}
    assert "uncertainty" not in thing.data.attributes


@pytest.mark.parametrize("result", ["PERSPECTIVE", "DISPLACEMENT"])
def test_a_copy_is_independent_of_its_original(settings, result):
    original = generate(result=result, use_cut=False, shading="EMISSION")
    before, depth = positions(original), part("photos").read_map(original.leadline.depth)
    camera, material = original.leadline.camera, original.data.materials[0]
    nearness = original.modifiers[0].texture.image if original.modifiers else None
    strength = evaluated_positions(original)[:, 2]
    copy = original.copy()
    copy.data = original.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    for thing in bpy.context.selected_objects:
        thing.select_set(False)
    copy.select_set(True)
    bpy.context.view_layer.objects.active = copy
    assert bpy.ops.leadline.rebuild(near_m=4.0, far_m=40.0, height_m=2.0, shading="PRINCIPLED") == {"FINISHED"}
    assert copy.leadline.depth != original.leadline.depth
    np.testing.assert_array_equal(part("photos").read_map(original.leadline.depth), depth)
    np.testing.assert_array_equal(positions(original), before)
    np.testing.assert_array_equal(evaluated_positions(original)[:, 2], strength)
    assert original.leadline.camera == camera
    assert original.data.materials[0] == material != copy.data.materials[0]
    if result == "PERSPECTIVE":
        assert copy.leadline.camera != camera
    else:
        assert copy.modifiers[0].texture.image != nearness
    # Another rebuild of either changes nothing about who owns what.
    own = copy.leadline.depth
    assert bpy.ops.leadline.rebuild(near_m=5.0) == {"FINISHED"}
    assert copy.leadline.depth == own


@pytest.mark.parametrize("count", range(1, 8))
def test_a_few_reference_points_scale_the_scene_and_keep_its_shape(settings, count):
    thing = generate(result="PERSPECTIVE", use_cut=False, near_m=2.0, far_m=6.0)
    before = positions(thing)
    rng = np.random.default_rng(count)
    for index in rng.integers(0, len(before), count):
        bpy.context.scene.cursor.location = thing.matrix_world @ thing.data.vertices[index].co
        assert bpy.ops.leadline.add_reference(distance_m=1.7 * float(np.linalg.norm(before[index]))) == {"FINISHED"}
        bpy.context.view_layer.objects.active = thing
    assert bpy.ops.leadline.scale_to_references() == {"FINISHED"}
    assert thing.leadline.metric
    # Each point lies on the pixel grid only to within a pixel; the shape is exactly kept.
    ratio = positions(thing)[:, 2] / before[:, 2]
    assert np.ptp(ratio) < 1e-3 * ratio.mean()
    assert ratio.mean() == pytest.approx(1.7, rel=0.1)


def test_disabling_in_the_middle_of_a_run_is_quick(settings, preferences, monkeypatch):
    from check_running import slow_task, wait_for_work
    from conftest import MODULE

    preferences.place, preferences.python = "LOCAL", os.environ["LEADLINE_TEST_PYTHON"]
    started = local_servers(monkeypatch)
    task = slow_task(settings)
    wait_for_work(task)
    process = started[0]._process
    before = time.perf_counter()
    part("runtime").shut_down()
    took = time.perf_counter() - before
    print(f"shut down in {took * 1e3:.0f} ms")
    assert took < 5.0  # the work itself takes far longer
    wait_until(lambda: process.poll() is not None)
    assert MODULE in bpy.context.preferences.addons


def test_a_server_of_ours_that_dies_is_explained(settings, preferences, monkeypatch):
    from check_running import slow_task, wait_for_work

    preferences.place, preferences.python = "LOCAL", os.environ["LEADLINE_TEST_PYTHON"]
    started = local_servers(monkeypatch)
    task = slow_task(settings)
    wait_for_work(task)
    started[0]._process.kill()
    assert task.wait() is part("task").State.FAILED
    assert "leadline serve" not in task.error
    assert "ipc://" not in task.error
    assert "Generate" in task.error
    part("runtime").link.stop()
