"""Blender figures: `python benchmarks/blender.py` (needs the environments of tests/blender/make_envs.sh).

Measured in each Blender that is here, from a depth map in memory to an object in the scene (geometry, mesh data-block,
32-bit depth and uncertainty images, material, camera), and the plain NumPy geometry beside it. Prints one JSON object.
Each figure is [wall, processor] milliseconds, the best of several runs: on a busy machine the wall time also counts the
others, the processor time of the main thread hardly.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
VERTICES = 1024
RUNS = 5


def best_ms(work: Callable[[], object], runs: int = RUNS) -> list[float]:
    """Shortest wall time and shortest processor time of ``runs`` calls, milliseconds."""
    times = []
    for _ in range(runs):
        started, started_cpu = time.perf_counter(), time.thread_time()
        work()
        times.append((time.perf_counter() - started, time.thread_time() - started_cpu))
    return [round(min(each) * 1e3, 1) for each in zip(*times, strict=True)]


def scene_values() -> np.ndarray:
    """Log depth with hills and a box in front, VERTICES².  Enough relief for cuts, no two pixels alike."""
    y, x = np.mgrid[0:VERTICES, 0:VERTICES]
    values = (0.4 * np.sin(x / 80) + 0.4 * np.cos(y / 60) + 1e-4 * x).astype(np.float32)
    values[300:600, 300:600] -= 1.0
    return values


def geometry() -> dict[str, list[float]]:
    """The geometry alone, in this Python."""
    from leadline.geometry import Pinhole, perspective_mesh, relief_mesh, sky_mask

    depth = np.exp(scene_values())
    camera = Pinhole.default(VERTICES, VERTICES)
    rise = depth / depth.max()
    mesh = perspective_mesh(depth, camera)
    photo = np.zeros((VERTICES, VERTICES, 3), np.uint8)
    return {
        "perspective_ms": best_ms(lambda: perspective_mesh(depth, camera)),
        "perspective_with_edges_ms": best_ms(lambda: perspective_mesh(depth, camera, edges=True)),
        "perspective_100k_triangles_ms": best_ms(lambda: perspective_mesh(depth, camera, target_faces=100_000)),
        "relief_ms": best_ms(lambda: relief_mesh(rise, 2.0, 0.4)),
        "normals_ms": best_ms(mesh.normals),
        "sky_ms": best_ms(lambda: sky_mask(rise, photo)),
    }


def in_a_task(tasks: ModuleType, work: Callable[[object], object]) -> tuple[object, float, float]:
    """What the thread makes, how long it took, and the longest time that the main thread worked for it; milliseconds."""
    started, longest = time.perf_counter(), 0.0
    task = tasks.Task(work)
    while task.state is tasks.State.RUNNING:
        before = time.perf_counter()
        task.tick()
        longest = max(longest, time.perf_counter() - before)
        time.sleep(0.005)
    if task.error:
        raise SystemExit(task.error)
    return task.result, round((time.perf_counter() - started) * 1e3, 1), round(longest * 1e3, 1)


def large_photograph(module: str, path: str) -> dict[str, object]:
    """A photograph of 24 megapixels, filled behind: milliseconds for each part in the main thread and for the thread's; the highest memory.

    ``decode_to_show_ms`` is no part of ours: Blender decodes the file once it draws the texture.
    """
    import resource
    from importlib import import_module

    import bpy

    names = ("results", "photos", "depth", "shaping", "properties", "task")
    results, photos, depths, shaping, properties, tasks = (import_module(f"{module}.{name}") for name in names)
    space = import_module(f"{module}.leadline.depth.spaces").Space.LOG_DEPTH
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    settings = bpy.context.scene.leadline
    settings.source, settings.filepath = "FILE", path

    def peak_mb() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    figures: dict[str, object] = {"memory_before_mb": peak_mb()}
    started = time.perf_counter()
    photo = photos.photo_from_settings(bpy.context)
    figures["begin_ms"] = round((time.perf_counter() - started) * 1e3, 1)
    # What the server answers, and the thread makes smaller.
    y, x = np.mgrid[0:4000, 0:6000].astype(np.float32)
    values = 0.4 * np.sin(x / 500) + 0.4 * np.cos(y / 400)
    del x, y
    depth = depths.Depth(depths.at_most(values, photos.WORKING_EDGE), space, False, "none")
    del values
    started = time.perf_counter()
    image = photo.data_block()
    photos.upright_size(image, 1)
    figures["photograph_ms"] = round((time.perf_counter() - started) * 1e3, 1)
    settings.fill_behind = True
    options = properties.Snapshot(settings)

    def work(report: object) -> object:
        return shaping.shape(depth, results.look(report, lambda: image, options), options)

    made, figures["geometry_in_the_thread_ms"], figures["longest_tick_ms"] = in_a_task(tasks, work)
    started = time.perf_counter()
    results.realise(bpy.context, image, depth, made, options, None)
    bpy.context.view_layer.update()
    figures["object_ms"] = round((time.perf_counter() - started) * 1e3, 1)
    figures["memory_highest_mb"] = peak_mb()
    started = time.perf_counter()
    figures["pixels"] = image.size[0] * image.size[1]
    figures["decode_to_show_ms"] = round((time.perf_counter() - started) * 1e3, 1)
    return figures


def painted_picture(module: str) -> dict[str, object]:
    """A picture of 24 megapixels that is only in memory: the longest time that the main thread is held, milliseconds."""
    from importlib import import_module

    import bpy

    photos, tasks = import_module(f"{module}.photos"), import_module(f"{module}.task")
    image = bpy.data.images.new("painted", 6000, 4000)
    image.pixels[0] = 0.5
    started = time.perf_counter()
    photo = photos.photo_from_image(image)
    begin = round((time.perf_counter() - started) * 1e3, 1)
    _, thread, longest = in_a_task(tasks, photo.content)
    bpy.data.images.remove(image)
    return {"begin_ms": begin, "thread_ms": thread, "longest_tick_ms": longest}


def inside(module: str) -> None:
    """Runs in Blender's Python: prints its figures as JSON on the last line."""
    from importlib import import_module

    import bpy

    bpy.ops.extensions.package_install_files(
        filepath=os.environ["LEADLINE_ZIP"], repo="user_default", enable_on_install=True
    )
    large: dict[str, object] = {path[-3:]: large_photograph(module, path) for path in sys.argv[2:]}
    figures: dict[str, object] = {"24_megapixels": large | {"painted": painted_picture(module)}}
    names = ("results", "photos", "depth", "shaping", "properties", "task")
    results, photos, depths, shaping, properties, tasks = (import_module(f"{module}.{name}") for name in names)
    space = import_module(f"{module}.leadline.depth.spaces").Space.LOG_DEPTH
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    values = scene_values()
    pixels = np.random.default_rng(0).integers(0, 255, (VERTICES, VERTICES, 3), np.uint8)
    encode_png = import_module(f"{module}.leadline.files.png").encode_png
    image = photos.Photo("benchmark", encode_png(pixels)).data_block()
    depth = depths.Depth(values, space, False, "none", 0.1 * np.abs(values))
    settings = bpy.context.scene.leadline
    settings.long_edge = 0
    figures |= {"blender": bpy.app.version_string, "vertices": VERTICES**2}

    def build() -> None:
        target = results.find_object(bpy.context, image)

        def work(report: object) -> object:
            return shaping.shape(depth, results.look(report, lambda: image, options, lambda: target), options)

        options = properties.Snapshot(settings)
        results.realise(bpy.context, image, depth, in_a_task(tasks, work)[0], options, target)
        bpy.context.view_layer.update()

    for result in ("PERSPECTIVE", "RELIEF", "DISPLACEMENT"):
        settings.result = result
        figures[f"{result.lower()}_ms"] = best_ms(build)
    bpy.ops.preferences.addon_disable(module=module)
    print(json.dumps(figures))


def main() -> None:
    sys.path.insert(0, str(ROOT / "blender_addon"))
    from PIL import Image

    import build

    report: dict[str, object] = {"cpu_count": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine()}
    report["geometry"] = geometry()
    with tempfile.TemporaryDirectory() as folder:
        archives = {kind: build.make_zip(kind, Path(folder)) for kind in build.BUILDS}
        noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
        large = [f"{folder}/24.{kind}" for kind in ("jpg", "png", "tif")]
        for path in large:
            Image.fromarray(noise).resize((6000, 4000)).save(path)
        for python in sorted(ROOT.glob(".venv-bpy*/bin/python")):
            environment = os.environ | {
                "LEADLINE_ZIP": str(archives["abi3" if python.parts[-3].endswith("53") else "cp311"]),
                "BLENDER_USER_RESOURCES": f"{folder}/{python.parts[-3]}",
            }
            run = subprocess.run(
                [str(python), __file__, "--inside", *large], env=environment, capture_output=True, text=True, check=True
            )
            figures = json.loads(run.stdout.strip().splitlines()[-1])
            report[f"blender {figures.pop('blender')}"] = figures
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    if "--inside" in sys.argv:
        inside("bl_ext.user_default.leadline_blender")
    else:
        main()
