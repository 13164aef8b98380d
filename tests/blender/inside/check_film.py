# SPDX-License-Identifier: GPL-3.0-or-later
"""Films: depth for each frame on one scale, animated displacement, stopping and going on; reference points."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import partial

import bpy
import numpy as np
import pytest
from check_results import evaluated_positions, positions, vertex_uv
from conftest import part, wait_until

FRAMES = 5


@pytest.fixture
def frames(tmp_path, photo):
    """A numbered JPEG sequence that starts at 7: the photograph getting darker."""
    folder = tmp_path / "shot"
    folder.mkdir()
    image = bpy.data.images.load(photo)
    image.scale(90, 60)
    pixels = np.array(image.pixels[:], np.float32).reshape(-1, 4)
    for number in range(7, 7 + FRAMES):
        pixels[:, :3] *= 0.9
        image.pixels.foreach_set(pixels.ravel())
        image.filepath_raw, image.file_format = str(folder / f"frame_{number:04d}.jpg"), "JPEG"
        image.save()
    bpy.data.images.remove(image)
    return folder


@pytest.fixture
def film_settings(settings, frames):
    settings.sequence_path = str(frames / "frame_0007.jpg")
    settings.long_edge = 46
    return settings


def test_exr_files_hold_exactly_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (16, 5), (37, 91)):
        values = rng.normal(size=(height, width)).astype(np.float32) * 1000
        part("exr").write_exr(tmp_path / f"{height}.exr", values)
        image = bpy.data.images.load(str(tmp_path / f"{height}.exr"))
        image.colorspace_settings.name = "Non-Color"
        np.testing.assert_array_equal(part("photos").read_map(image), values)
    smooth = np.linspace(0, 1, 300 * 300, dtype=np.float32).reshape(300, 300)
    part("exr").write_exr(tmp_path / "smooth.exr", smooth)
    assert (tmp_path / "smooth.exr").stat().st_size < 0.8 * smooth.nbytes
    assert not list(tmp_path.glob("*.tmp"))


def test_a_sequence_becomes_an_animated_displacement(film_settings, frames):
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    folder = frames / "frame_0007 depth"
    assert sorted(f.name for f in folder.glob("*.exr")) == [f"nearness_{i:05d}.exr" for i in range(1, FRAMES + 1)]
    thing = bpy.context.active_object
    modifier = thing.modifiers[0]
    assert modifier.texture.image.source == "SEQUENCE"
    assert modifier.texture.image.colorspace_settings.name == "Non-Color"
    assert modifier.texture.image_user.frame_duration == FRAMES
    material_user = thing.data.materials[0].node_tree.nodes["Leadline Photograph"].image_user
    assert (material_user.frame_duration, material_user.frame_offset) == (FRAMES, 6)
    shapes = []
    for frame in range(1, FRAMES + 1):
        bpy.context.scene.frame_set(frame)
        shapes.append(evaluated_positions(thing)[:, 2])
    stored = [nearness(folder, i) for i in range(FRAMES)]
    for shape, image in zip(shapes, stored, strict=True):
        assert shape.max() > 0
        assert np.corrcoef(shape.reshape(31, 46)[5:-5:5, 5:-5:5].ravel(), sampled(image))[0, 1] > 0.95
    assert any(np.abs(shapes[0] - other).max() > 1e-4 for other in shapes[1:]), "nothing moves"


def nearness(folder, index) -> np.ndarray:
    image = bpy.data.images.load(str(folder / f"nearness_{index + 1:05d}.exr"))
    image.colorspace_settings.name = "Non-Color"
    values = part("photos").read_map(image)
    bpy.data.images.remove(image)
    return values


def sampled(image: np.ndarray) -> np.ndarray:
    rows = np.linspace(0, image.shape[0] - 1, 31).round().astype(int)[5:-5:5]
    columns = np.linspace(0, image.shape[1] - 1, 46).round().astype(int)[5:-5:5]
    return image[np.ix_(rows, columns)].ravel()


def test_a_film_becomes_a_scene_seen_through_one_camera(film_settings, frames):
    film_settings.sequence_result, film_settings.use_cut = "PERSPECTIVE", False
    film_settings.near_m, film_settings.far_m, film_settings.long_edge = 2.0, 8.0, 38  # few vertices between two pixels
    scene = bpy.context.scene
    scene.frame_start = 11
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    thing, folder = bpy.context.active_object, frames / "frame_0007 depth"
    assert scene.camera == thing.leadline.camera
    flat = positions(thing)
    np.testing.assert_allclose(flat[:, 2], -1, atol=1e-6)
    uv = vertex_uv(thing)
    rows = np.clip((1 - uv[:, 1]) * 60, 0, 59).astype(int)
    columns = np.clip(uv[:, 0] * 90, 0, 89).astype(int)
    shapes = []
    for index in range(FRAMES):
        scene.frame_set(11 + index)
        shapes.append(evaluated_positions(thing))
        # This model speaks log depth: from 8 m at 0 to 2 m at 1, held a little beyond.
        expected = np.clip(8 * 0.25 ** nearness(folder, index)[rows, columns], 2 / 1.25, 8 * 1.25)
        off = np.abs(-shapes[-1][:, 2] / expected - 1)
        assert np.median(off) < 1e-3
        assert np.quantile(off, 0.9) < 1e-3
        along = shapes[-1] / -shapes[-1][:, 2:]
        np.testing.assert_allclose(along, flat, atol=1e-5, err_msg="every vertex stays on its line of sight")
    assert any(np.abs(shapes[0] - other).max() > 1e-3 for other in shapes[1:]), "nothing moves"
    for frame, index in ((1, 0), (99, FRAMES - 1)):
        scene.frame_set(frame)
        np.testing.assert_allclose(evaluated_positions(thing), shapes[index], atol=1e-6)
    scene.frame_set(11)
    live = part("live")
    live.write(thing, "Farthest", 4.0)
    assert (-evaluated_positions(thing)[:, 2]).max() <= 4 * 1.25 + 1e-4
    live.write(thing, "Farthest", 8.0)
    live.write(thing, "Steepest", 1.2)
    steep = len(evaluated_positions(thing))
    assert bpy.ops.leadline.bake() == {"FINISHED"}
    assert len(thing.data.vertices) == steep
    assert not thing.modifiers
    where, faces = positions(thing), np.array([polygon.vertices for polygon in thing.data.polygons])
    normals = np.array([polygon.normal for polygon in thing.data.polygons])
    sight = where[faces].mean(axis=1)
    cosine = np.abs((normals * sight).sum(axis=1)) / np.linalg.norm(sight, axis=1)
    assert len(faces) < len(flat)
    assert cosine.min() > np.cos(1.2) - 1e-3
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert [modifier.type for modifier in thing.modifiers] == ["NODES"]
    film_settings.sequence_result = "DISPLACEMENT"
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert [modifier.type for modifier in thing.modifiers] == ["DISPLACE"]


def test_frames_stay_on_one_scale(film_settings, frames):
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    folder = frames / "frame_0007 depth"
    ends = np.array([np.percentile(nearness(folder, i), [10, 90]) for i in range(FRAMES)])
    assert np.ptp(ends, axis=0).max() < 0.5


def test_with_a_server_of_ours_each_point_is_held_still(film_settings, preferences, frames, monkeypatch):
    preferences.place, preferences.python = "LOCAL", os.environ["LEADLINE_TEST_PYTHON"]
    local, helpers, film = part("link").LocalServer, [], part("film")

    def with_model(**options):
        return local(models=[f"fiffdepth-mini={os.environ['LEADLINE_TEST_MODEL']}"], device="cpu", **options)

    class Watched(film.SteadyProcess):
        """The helper, and how often it was asked."""

        def step(self, values, picture):
            helpers.append(self)
            return super().step(values, picture)

    monkeypatch.setattr(part("link"), "LocalServer", with_model)
    monkeypatch.setattr(film, "SteadyProcess", Watched)
    try:
        assert bpy.ops.leadline.sequence() == {"FINISHED"}
    finally:
        bpy.ops.leadline.stop_server()
    folder = frames / "frame_0007 depth"
    assert json.loads((folder / film.STATE_FILE).read_text())["job"]["steady"] == film.HERE
    assert len(helpers) == FRAMES
    assert helpers[0]._process.poll() is not None
    assert all(np.isfinite(nearness(folder, i)).all() for i in range(FRAMES))


def test_another_server_holds_each_point_still(film_settings, frames, monkeypatch):
    names, client = [], part("generate").Client
    original = client.predict

    def predict(self, image, **options):
        names.append(options["steady"])
        return original(self, image, **options)

    monkeypatch.setattr(client, "predict", predict)
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert len(names) == FRAMES
    assert len(set(names)) == 1
    assert names[0]
    folder, film = frames / "frame_0007 depth", part("film")
    assert json.loads((folder / film.STATE_FILE).read_text())["job"]["steady"] == film.SERVER
    assert "on one scale only" not in part("runtime").message.text


def test_a_server_that_holds_no_films_still_is_told(film_settings, monkeypatch):
    client = part("generate").Client
    original = client.hello

    def older(self, *arguments, **options):
        told = original(self, *arguments, **options)
        return dataclasses.replace(told, limits={k: v for k, v in told.limits.items() if k != "steady_megapixels"})

    monkeypatch.setattr(client, "hello", older)
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert "on one scale only" in part("runtime").message.text


@pytest.mark.parametrize("holder", ["", "server"])
def test_stopped_it_goes_on_where_it_was(film_settings, frames, monkeypatch, holder):
    monkeypatch.setattr(part("sequence_ops"), "_holder", lambda *_: holder)
    film, folder = part("film"), frames / "frame_0007 depth"
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    whole = [nearness(folder, i) for i in range(FRAMES)]
    for file in folder.iterdir():
        file.unlink()
    film_settings.sequence_frames = 2
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert json.loads((folder / film.STATE_FILE).read_text())["next"] == 2
    first = (folder / "nearness_00001.exr").stat().st_mtime_ns
    film_settings.sequence_frames = 0
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert (folder / "nearness_00001.exr").stat().st_mtime_ns == first, "a finished frame was done again"
    for index in range(FRAMES):
        # A server asked anew has forgotten what it averaged.
        np.testing.assert_allclose(nearness(folder, index), whole[index], atol=0.05 if holder else 1e-4)
    # Other settings are another job.
    film_settings.seed = 5
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert (folder / "nearness_00001.exr").stat().st_mtime_ns != first


def test_a_film_can_be_stopped_and_keeps_what_is_done(film_settings, frames, tmp_path):
    film, folder = part("film"), tmp_path / "out"
    job = film.Job("film", "fiffdepth-mini", "FAST", 1, 1, 0, 0)
    ask = part("generate").ask_for_depth(bpy.context, None)
    images = film.image_sequence(frames / "frame_0007.jpg") * 20
    source = partial(film.files_as_they_are, images)
    task = part("task").Task(lambda report: film.measure_film(report, job, len(images), source, folder, ask))
    wait_until(lambda: (folder / "nearness_00003.exr").exists() and task.tick() is not None)
    task.cancel()
    assert task.join(60)
    done = json.loads((folder / film.STATE_FILE).read_text())["next"]
    assert 2 < done < FRAMES * 20
    assert len(list(folder.glob("*.exr"))) == done
    assert not list(folder.glob("*.tmp"))


def test_formats_that_only_blender_reads(film_settings, frames):
    image = bpy.data.images.load(str(frames / "frame_0007.jpg"))
    assert len(image.pixels) > 0  # loads them; a file that is only named cannot be saved under another name
    for number in (1, 2):
        image.filepath_raw, image.file_format = str(frames / f"scan{number}.tif"), "TIFF"
        image.save()
    film_settings.sequence_path = str(frames / "scan1.tif")
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert len(list((frames / "scan1 depth").glob("*.exr"))) == 2


def test_a_movie(film_settings, frames, tmp_path):
    movie = make_movie(frames, tmp_path / "clip.mp4")
    scenes = len(bpy.data.scenes)
    film_settings.sequence_path = str(movie)
    assert bpy.ops.leadline.sequence() == {"FINISHED"}
    assert len(list((tmp_path / "clip depth").glob("*.exr"))) == FRAMES
    assert len(bpy.data.scenes) == scenes
    thing = bpy.context.active_object
    assert thing.leadline.photo.source == "MOVIE"
    assert thing.modifiers[0].texture.image_user.frame_duration == FRAMES


def test_the_window_has_no_part_in_decoding_a_movie(film_settings, frames, tmp_path):
    """Nobody ticks: the thread and the second Blender do it all, and the second ends when the thread is stopped."""
    film, command = part("film"), part("host").blender_command()
    movie, folder = make_movie(frames, tmp_path / "clip.mp4"), tmp_path / "out"
    job = film.Job("film", "fiffdepth-mini", "FAST", 1, 1, 0, 0)
    ask = part("generate").ask_for_depth(bpy.context, None)
    source = partial(film.decoded, command, [movie], FRAMES, 1)
    task = part("task").Task(lambda report: film.measure_film(report, job, FRAMES, source, folder, ask))
    assert task.join(120)
    task.tick()
    assert task.state is part("task").State.DONE, task.error
    assert len(list(folder.glob("*.exr"))) == FRAMES
    # Colours are the movie's: the first frame against the image that it was made of.
    with part("movies").decoding(command, [movie], True, 0, FRAMES) as decoder:
        png = decoder.frame(part("task").Report(), 0)
        process = decoder._process
    assert process.poll() is not None
    (tmp_path / "first.png").write_bytes(png)
    pixels_of, load = part("photos").pixels_of, bpy.data.images.load
    seen, original = (
        pixels_of(load(str(path)))[..., :3].astype(int) for path in (tmp_path / "first.png", frames / "frame_0007.jpg")
    )
    inner = seen[2:-2, 3:-3]  # the movie has a black border
    assert inner.shape == original.shape
    assert np.abs(inner.mean(axis=(0, 1)) - original.mean(axis=(0, 1))).max() < 8
    turned = film.turned_png(png, 6)
    assert part("leadline.geometry.exif").orientation_from_bytes(turned) == 6


def make_movie(frames, path):
    scene = bpy.data.scenes.new("movie")
    scene.view_settings.view_transform = "Standard"
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strip = strips.new_image("shot", str(frames / "frame_0007.jpg"), 1, 1)
    for number in range(8, 7 + FRAMES):
        strip.elements.append(f"frame_{number:04d}.jpg")
    strip.frame_final_duration = FRAMES
    render = scene.render
    scene.frame_start, scene.frame_end = 1, FRAMES
    render.resolution_x, render.resolution_y = 96, 64
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.filepath, render.use_file_extension = str(path), False
    bpy.ops.render.render(animation=True, scene=scene.name)
    bpy.data.scenes.remove(scene)
    assert path.exists()
    return path


def test_films_that_cannot_be(film_settings, frames, tmp_path):
    for path, words in (
        ("", "choose a movie"),
        (str(tmp_path / "no.mp4"), "no file"),
        (os.environ["LEADLINE_TEST_PHOTO"], "no frame number"),
    ):
        film_settings.sequence_path = path
        with pytest.raises(RuntimeError, match=words.replace("choose", "[Cc]hoose").replace("no ", "[Nn]?o? ?")):
            bpy.ops.leadline.sequence()
    (tmp_path / "broken.mp4").write_bytes(b"no movie")
    film_settings.sequence_path = str(tmp_path / "broken.mp4")
    scenes = len(bpy.data.scenes)
    with pytest.raises(RuntimeError, match=r"cannot read|no frames"):
        bpy.ops.leadline.sequence()
    assert len(bpy.data.scenes) == scenes


def test_reference_points_become_sparse_depth(settings):
    settings.result, settings.use_cut = "PERSPECTIVE", False
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    thing = bpy.context.active_object
    references = part("references")
    with pytest.raises(part("leadline.errors").InputError, match="no reference points"):
        references.sparse_from_references(bpy.context, thing)
    thing.location = (1, 2, 3)
    bpy.context.view_layer.update()
    middle = thing.data.vertices[30 * 91 + 45]
    bpy.context.scene.cursor.location = thing.matrix_world @ middle.co
    assert bpy.ops.leadline.add_reference(distance_m=3.0) == {"FINISHED"}
    bpy.context.view_layer.update()
    sparse = references.sparse_from_references(bpy.context, thing)
    assert np.count_nonzero(sparse) == 1
    assert sparse[60, 90] == pytest.approx(3.0, rel=1e-3), "on the axis, distance and depth are the same"
    # A known length: two points that are twice as far apart as the scene says.
    first, second = thing.data.vertices[10 * 91 + 20], thing.data.vertices[50 * 91 + 70]
    ends = []
    for vertex in (first, second):
        empty = bpy.data.objects.new("end", None)
        empty.location = thing.matrix_world @ vertex.co
        bpy.context.scene.collection.objects.link(empty)
        ends.append(empty)
    ends[0].leadline.length_to, ends[0].leadline.length_m = ends[1], 2 * (first.co - second.co).length
    bpy.data.objects["Reference"].leadline.reference_m = 0.0
    bpy.context.view_layer.update()
    sparse = references.sparse_from_references(bpy.context, thing)
    found = sorted(sparse[sparse > 0].tolist())
    np.testing.assert_allclose(found, sorted([-2 * first.co.z, -2 * second.co.z]), rtol=1e-3)
    ends[1].location = thing.matrix_world @ (second.co * -1)
    bpy.context.view_layer.update()
    with pytest.raises(part("leadline.errors").InputError, match="outside the photograph"):
        references.sparse_from_references(bpy.context, thing)


def test_scaling_to_metres_by_reference_points(settings):
    settings.result, settings.use_cut = "PERSPECTIVE", False
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    thing = bpy.context.active_object
    for index, distance in ((15 * 91 + 20, 3.0), (45 * 91 + 70, 6.0), (30 * 91 + 45, 4.5)):
        bpy.context.scene.cursor.location = thing.matrix_world @ thing.data.vertices[index].co
        bpy.context.view_layer.objects.active = thing
        assert bpy.ops.leadline.add_reference(distance_m=distance) == {"FINISHED"}
    bpy.context.view_layer.objects.active = thing
    assert bpy.ops.leadline.scale_to_references() == {"FINISHED"}
    assert thing.leadline.metric
    middle = thing.data.vertices[30 * 91 + 45]
    assert middle.co.length == pytest.approx(4.5, rel=0.15)
    # Rebuilding keeps the metres, whatever the panel says.
    assert bpy.ops.leadline.rebuild(near_m=50.0, far_m=90.0) == {"FINISHED"}
    assert thing.data.vertices[30 * 91 + 45].co.length == pytest.approx(4.5, rel=0.15)
