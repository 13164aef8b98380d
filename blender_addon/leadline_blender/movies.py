# SPDX-License-Identifier: GPL-3.0-or-later
"""Single frames of a movie, by way of a scene of its own with the movie in its sequencer.

Blender gives no access to the pixels of a movie's frames; rendering the sequencer does, in every version and in
background mode.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import bpy
import numpy as np

from leadline.errors import InputError

from . import photos
from .host import item, present


class Movie:
    """Open until :meth:`close`. Main thread only.

    Only the scene's name is kept: an undo during the run replaces all data-blocks, and with them any reference.
    """

    def __init__(self, path: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="leadline-")
        scene = bpy.data.scenes.new("Leadline Movie")
        self._scene_name = scene.name
        editor = scene.sequence_editor_create()
        strips: Any = editor.strips if hasattr(editor, "strips") else editor.sequences  # Blender 4.4 renamed them
        try:
            strip = strips.new_movie("film", path, 1, 1)
            self.frames = int(strip.frame_duration)
            element = strip.elements[0]
            self.width, self.height = int(element.orig_width), int(element.orig_height)
        except (RuntimeError, IndexError) as error:
            self.close()
            raise InputError(f"Blender cannot read {os.path.basename(path)} as a movie") from error
        if self.frames < 1 or self.width < 1 or self.height < 1:
            self.close()
            raise InputError(f"Blender finds no frames in {os.path.basename(path)}")
        render = scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = self.width, self.height, 100
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGB"
        render.image_settings.compression = 0
        render.use_sequencer, render.use_compositing = True, False
        present(scene.view_settings).view_transform = "Standard"  # type: ignore[assignment]

    def frame(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of frame ``index`` (from 0)."""
        scene = item(bpy.data.scenes, self._scene_name)
        if scene is None:
            raise InputError("the movie was closed by an undo; start again to go on")
        path = os.path.join(self._folder, "frame.png")
        scene.frame_set(index + 1)
        scene.render.filepath = path
        bpy.ops.render.render(write_still=True, scene=scene.name)
        image = bpy.data.images.load(path)
        try:
            return np.ascontiguousarray(photos.pixels_of(image)[..., :3])
        finally:
            bpy.data.images.remove(image)
            os.remove(path)

    def close(self) -> None:
        scene = item(bpy.data.scenes, self._scene_name)
        if scene is not None:
            bpy.data.scenes.remove(scene)
        if os.path.isdir(self._folder):
            os.rmdir(self._folder)
