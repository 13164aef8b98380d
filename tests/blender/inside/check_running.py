# SPDX-License-Identifier: GPL-3.0-or-later
"""While the model works, and when something is wrong: nothing blocks, nothing is left over, the words are plain."""

from __future__ import annotations

import os
import threading
import time

import bpy
import numpy as np
import pytest
from conftest import local_servers, part, wait_until

SLOW = {"quality": "CUSTOM", "steps": 64, "ensemble": 6, "size": 448}


def slow_task(settings):
    """The task that the operator would start, on work that takes many seconds."""
    for name, value in SLOW.items():
        setattr(settings, name, value)
    photo = part("photos").photo_from_settings(bpy.context)
    work = part("generate").ask_for_depth(bpy.context, photo)
    return part("runtime").begin(part("task").Task(work, photo.name))


def wait_for_work(task, timeout_s: float = 200.0) -> None:
    """Until the model is at work; a server that has to start takes its time on a busy computer."""

    def at_work() -> bool:
        task.tick()
        assert task.state is part("task").State.RUNNING, task.error
        return task.fraction > 0

    wait_until(at_work, timeout_s)


def failure(operator, **options) -> str:
    with pytest.raises(RuntimeError) as caught:
        operator(**options)
    return str(caught.value)


def test_progress_arrives_and_the_main_thread_is_free_meanwhile(settings):
    started = time.perf_counter()
    task = slow_task(settings)
    assert time.perf_counter() - started < 5.0
    lines, longest, busiest, end = set(), 0.0, 0.0, time.monotonic() + 60
    while time.monotonic() < end and len(lines) < 4 and task.state is part("task").State.RUNNING:
        before, worked = time.perf_counter(), time.thread_time()
        task.tick()
        longest = max(longest, time.perf_counter() - before)
        busiest = max(busiest, time.thread_time() - worked)
        lines.add(task.line)
        time.sleep(0.01)
    task.cancel()
    print(f"longest tick {longest * 1e3:.2f} ms, {len(lines)} different lines")
    assert busiest < 0.05
    assert longest < 2.0  # it waits for nobody; what other programs take of the cores counts, too
    assert len(lines) >= 3, lines


def test_geometry_is_made_while_blender_stays_free(settings, monkeypatch):
    threads = []

    def watched(name: str):
        module = part(name)
        original = module.shape

        def shape(*arguments):
            threads.append(threading.current_thread())
            return original(*arguments)

        monkeypatch.setattr(module, "shape", shape)

    for name in ("generate", "scene_task", "own_depth"):
        watched(name)
    settings.result = "PERSPECTIVE"
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    thing = bpy.context.active_object
    bpy.context.scene.cursor.location = thing.matrix_world @ thing.data.vertices[200].co
    assert bpy.ops.leadline.add_reference(distance_m=3.0) == {"FINISHED"}
    assert bpy.ops.leadline.scale_to_references() == {"FINISHED"}
    assert bpy.ops.leadline.rebuild(use_cut=False) == {"FINISHED"}
    assert bpy.ops.leadline.paint(brush="NEARER") == {"FINISHED"}
    assert bpy.ops.leadline.apply_paint() == {"FINISHED"}
    assert bpy.ops.leadline.clear_paint() == {"FINISHED"}
    settings.own_depth = thing.leadline.depth
    assert bpy.ops.leadline.use_depth(meaning="METRES") == {"FINISHED"}
    assert len(threads) == 6
    assert threading.main_thread() not in threads


def test_a_thread_may_ask_the_main_thread(settings):
    task_module = part("task")
    seen = []

    def work(report):
        seen.append(report.on_main(lambda: (threading.current_thread(), bpy.data.scenes[0].name)))
        with pytest.raises(ZeroDivisionError):
            report.on_main(lambda: 1 // 0)
        return report.on_main(lambda: "done")

    task = task_module.Task(work)
    assert task.wait() is task_module.State.DONE
    assert task.result == "done"
    assert seen == [(threading.main_thread(), bpy.context.scene.name)]
    # Nobody answers a task that was stopped, and its thread does not wait for ever.
    waiting = task_module.Task(lambda report: report.on_main(lambda: "never"))
    waiting.cancel()
    assert waiting.join(60.0)
    assert not waiting.tick()


def test_stopping_takes_effect_at_once_and_leaves_nothing(settings):
    things = len(bpy.data.objects)
    task = slow_task(settings)
    wait_for_work(task)
    assert part("runtime").busy()
    before, worked = time.perf_counter(), time.thread_time()
    assert bpy.ops.leadline.cancel() == {"FINISHED"}
    assert time.thread_time() - worked < 0.05
    assert time.perf_counter() - before < 2.0
    assert task.state is part("task").State.CANCELLED
    assert not part("runtime").busy()
    assert task.join(60.0), "the thread did not end"
    assert len(bpy.data.objects) == things
    # The server is free for the next one.
    settings.quality = "FAST"
    before = time.perf_counter()
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    assert time.perf_counter() - before < 60


def test_two_at_once_are_refused(settings):
    task = slow_task(settings)
    assert not bpy.ops.leadline.generate.poll()
    task.cancel()
    assert bpy.ops.leadline.generate.poll()


def test_opening_another_file_stops_it(settings):
    task = slow_task(settings)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert task.state is part("task").State.CANCELLED
    assert task.join(60.0)


def test_no_server_at_the_address(settings, preferences):
    preferences.address = "tcp://127.0.0.1:1"
    text = failure(bpy.ops.leadline.generate)
    assert "127.0.0.1:1" in text
    assert part("runtime").message[0] == "ERROR"
    assert "127.0.0.1:1" in failure(bpy.ops.leadline.test_connection)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:5570", "http://127.0.0.1:5570", "tcp://127.0.0.1", "tcp://a:b", "tcp://[::1"]
)
def test_wrong_address(settings, preferences, address):
    preferences.address = address
    assert "is no server address" in failure(bpy.ops.leadline.generate)


def test_another_computer_needs_online_access(settings, preferences):
    assert not bpy.app.online_access
    preferences.address = "tcp://192.0.2.1:5570"
    before = time.perf_counter()
    assert "Allow Online Access" in failure(bpy.ops.leadline.test_connection)
    assert time.perf_counter() - before < 20


def test_keys(settings, preferences, tmp_path):
    preferences.address = os.environ["LEADLINE_TEST_LOCKED_ADDRESS"]
    assert "key" in failure(bpy.ops.leadline.test_connection)
    preferences.server_key = "x" * 40
    assert "key" in failure(bpy.ops.leadline.test_connection).lower()
    preferences.server_key = "too short"
    assert "40 characters" in failure(bpy.ops.leadline.test_connection)
    preferences.server_key = ""
    preferences.key_file = str(tmp_path / "absent.json")
    assert "absent.json" in failure(bpy.ops.leadline.test_connection)
    preferences.key_file = os.environ["LEADLINE_TEST_KEY_FILE"]
    assert bpy.ops.leadline.test_connection() == {"FINISHED"}
    assert bpy.ops.leadline.generate() == {"FINISHED"}


def test_connection_test_names_the_models(settings):
    assert bpy.ops.leadline.test_connection() == {"FINISHED"}
    assert "fiffdepth-mini" in part("runtime").message[1]


def test_unknown_model(settings):
    settings.model = "no-such-model"
    assert "no-such-model" in failure(bpy.ops.leadline.generate)


def test_local_server_starts_is_killed_and_starts_again(settings, preferences, monkeypatch):
    preferences.place, preferences.python = "LOCAL", os.environ["LEADLINE_TEST_PYTHON"]
    started = local_servers(monkeypatch)
    try:
        assert bpy.ops.leadline.generate() == {"FINISHED"}
        assert len(started) == 1
        task = slow_task(settings)
        wait_for_work(task)
        started[0]._process.kill()
        before = time.monotonic()
        assert task.wait() is part("task").State.FAILED
        assert time.monotonic() - before < 90
        assert task.error
        print("killed server:", task.error)
        settings.quality = "FAST"
        assert bpy.ops.leadline.generate() == {"FINISHED"}
        assert len(started) == 2
        assert bpy.ops.leadline.stop_server() == {"FINISHED"}
        wait_until(lambda: not started[1].running)
    finally:
        part("runtime").link.stop()


def test_no_python_for_the_local_server(settings, preferences):
    preferences.place, preferences.python = "LOCAL", "/no/such/python"
    assert "/no/such/python" in failure(bpy.ops.leadline.generate)


def test_a_python_without_leadline(settings, preferences, tmp_path):
    import sys

    preferences.place, preferences.python = "LOCAL", sys.executable  # Blender's: it has no torch
    text = failure(bpy.ops.leadline.test_connection)
    print(text)
    assert "local server did not start" in text


@pytest.mark.parametrize("source", ["FILE", "IMAGE", "BACKGROUND", "RENDER"])
def test_missing_photographs_are_explained(settings, source):
    settings.source, settings.filepath, settings.image = source, "", None
    text = failure(bpy.ops.leadline.generate).lower()
    assert any(word in text for word in ("choose", "render the scene", "no active camera"))


def test_damaged_file(settings, tmp_path):
    path = tmp_path / "damaged.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 not really")
    settings.filepath = str(path)
    text = failure(bpy.ops.leadline.generate)
    assert "damaged.jpg" in text
    settings.filepath = str(tmp_path / "absent.jpg")
    assert "absent.jpg" in failure(bpy.ops.leadline.generate)


def test_all_four_sources_give_the_same_photograph(settings, photo):
    photos = part("photos")
    from_file = photos.photo_from_settings(bpy.context).sent
    settings.source, settings.image = "IMAGE", bpy.data.images.load(photo)
    assert photos.photo_from_settings(bpy.context).sent == from_file
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    camera.data.background_images.new().image = settings.image
    settings.source = "BACKGROUND"
    assert photos.photo_from_settings(bpy.context).sent == from_file


def test_the_render_as_photograph(settings):
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    bpy.ops.render.render()
    settings.source = "RENDER"
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    assert tuple(bpy.context.active_object.leadline.photo.size) == (64, 48)


def test_import_operator(settings, photo):
    settings.source = "RENDER"
    assert bpy.ops.leadline.import_image(filepath=photo) == {"FINISHED"}
    assert bpy.context.active_object.leadline.photo.name == "street.jpg"
    handlers = bpy.types.FileHandler.__subclasses__()
    assert any(h.bl_import_operator == "leadline.import_image" and ".jpg" in h.bl_file_extensions for h in handlers)


def test_an_answer_that_does_not_fit_is_refused():
    depth, spaces = part("depth"), part("leadline.depth.spaces")
    wrong = depth.Depth(np.ones((3, 4), np.float32), spaces.Space.DEPTH, False, "m")
    with pytest.raises(part("leadline.errors").InputError, match="for a photograph"):
        depth.check(wrong, (4, 3))
    holes = depth.Depth(np.full((4, 3), np.nan, np.float32), spaces.Space.DEPTH, False, "m")
    with pytest.raises(part("leadline.errors").InputError, match="holes"):
        depth.check(holes, (4, 3))


def test_a_surprise_in_the_thread_becomes_a_sentence():
    def work(report):
        raise ZeroDivisionError("surprise")

    task = part("task").Task(work)
    assert task.wait() is part("task").State.FAILED
    assert task.error == "ZeroDivisionError: surprise"
    assert threading.active_count() < 20


def test_the_menu_shows_what_the_server_has(settings):
    assert bpy.ops.leadline.refresh_models() == {"FINISHED"}
    choices = part("runtime").models
    assert "fiffdepth-mini" in [choice.name for choice in choices if choice.present]
    assert bpy.ops.leadline.choose_model(name="fiffdepth-mini") == {"FINISHED"}
    assert settings.model == "fiffdepth-mini"


def test_what_a_quality_means_is_asked_of_the_model():
    effort, client = part("effort"), part("leadline.serving.client.client")
    one_step = client.ModelInfo("one", min_steps=1, max_steps=1, default_steps=1)
    any_steps = client.ModelInfo("any", min_steps=1, max_steps=None, default_steps=1)
    many = client.ModelInfo("many", min_steps=10, max_steps=50, default_steps=20)
    silent = client.ModelInfo("silent")
    table = {
        model.name: [
            (chosen.steps, chosen.ensemble)
            for chosen in (effort.for_quality(quality, model) for quality in ("FAST", "BALANCED", "FINE"))
        ]
        for model in (one_step, any_steps, many, silent)
    }
    assert table == {
        "one": [(1, 1), (None, 1), (1, 4)],
        "any": [(1, 1), (None, 1), (4, 4)],
        "many": [(10, 1), (None, 1), (20, 4)],
        "silent": [(None, 1), (None, 1), (None, 4)],
    }


def test_a_photograph_without_lines_tells_no_focal_length(settings, tmp_path):
    image = bpy.data.images.new("grey", 64, 64)
    settings.source, settings.image = "IMAGE", image
    assert "do not tell" in failure(bpy.ops.leadline.lens_from_lines)
