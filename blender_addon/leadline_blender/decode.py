# SPDX-License-Identifier: GPL-3.0-or-later
"""A second Blender, without a window, that turns a film's frames into PNG files: `decode.py FOLDER FIRST COUNT KIND`.

FOLDER/files lists one movie (KIND "movie"), or the images of a sequence ("images"). Frames FIRST to COUNT - 1 (from 0) become FOLDER/INDEX.png; no more than a
few wait there at a time. Blender gives no access to the pixels of a movie's frames; rendering the sequencer does.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import bpy

#: Frames that may wait to be taken.
AHEAD = 4
_POLL_S = 0.02


def movie_scene(path: str, name: str = "Leadline Movie") -> tuple[Any, int]:
    """A scene of its own with the movie in its sequencer, ready to render frames as they are, and how many there are.

    Raises:
        RuntimeError: Blender cannot read it. No scene is left.
    """
    scene: Any = bpy.data.scenes.new(name)
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences  # Blender 4.4 renamed them
    try:
        strip = strips.new_movie("film", path, 1, 1)
        frames, element = int(strip.frame_duration), strip.elements[0]
        width, height = int(element.orig_width), int(element.orig_height)
        if frames < 1 or width < 1 or height < 1:
            raise RuntimeError("no frames")
    except (RuntimeError, IndexError) as error:
        bpy.data.scenes.remove(scene)
        raise RuntimeError(f"Blender cannot read {os.path.basename(path)} as a movie") from error
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    scene.render.use_sequencer, scene.render.use_compositing = True, False
    return as_they_are(scene), frames


def as_they_are(scene: Any) -> Any:
    """A scene set to write PNG files whose colours are the source's."""
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode, settings.compression = "PNG", "RGB", 0
    scene.view_settings.view_transform = "Standard"
    return scene


def main(folder: str, first: int, count: int, kind: str) -> None:
    with open(os.path.join(folder, "files"), encoding="utf-8") as listed:
        files = listed.read().split("\0")
    movie = movie_scene(files[0])[0] if kind == "movie" else None
    stills = as_they_are(bpy.context.scene)
    unfinished = os.path.join(folder, "unfinished")
    for index in range(first, count):
        while sum(name.endswith(".png") for name in os.listdir(folder)) >= AHEAD:
            time.sleep(_POLL_S)
        if movie is not None:
            movie.frame_set(index + 1)
            movie.render.filepath, movie.render.use_file_extension = unfinished, False
            bpy.ops.render.render(write_still=True, scene=movie.name)
        else:
            image: Any = bpy.data.images.load(files[index])
            image.save_render(unfinished, scene=stills)
            bpy.data.images.remove(image)
        os.replace(unfinished, os.path.join(folder, f"{index}.png"))


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    main(arguments[0], int(arguments[1]), int(arguments[2]), arguments[3])
    sys.stdout.flush()
    os._exit(0)  # Blender as a Python module may hang when it ends
