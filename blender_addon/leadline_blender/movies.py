# SPDX-License-Identifier: GPL-3.0-or-later
"""Single frames of a movie, by way of a scene of its own with the movie in its sequencer.

Blender gives no access to the pixels of a movie's frames; rendering the sequencer does, in every version and in
background mode.
"""

from __future__ import annotations

import os
import tempfile

import bpy
import numpy as np

from . import photos
from .leadline.errors import InputError


class Movie:
    """Open until :meth:`close`. Main thread only."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="leadline-")
        self._scene = bpy.data.scenes.new("Leadline Movie")
        editor = self._scene.sequence_editor_create()
        strips = editor.strips if hasattr(editor, "strips") else editor.sequences
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
        render = self._scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = self.width, self.height, 100
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGB"
        render.image_settings.compression = 0
        render.use_sequencer, render.use_compositing = True, False
        self._scene.view_settings.view_transform = "Standard"

    def frame(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3) of frame ``index`` (from 0)."""
        path = os.path.join(self._folder, "frame.png")
        self._scene.frame_set(index + 1)
        self._scene.render.filepath = path
        bpy.ops.render.render(write_still=True, scene=self._scene.name)
        image = bpy.data.images.load(path)
        try:
            return photos.photo_from_image(image).pixels
        finally:
            bpy.data.images.remove(image)
            os.remove(path)

    def close(self) -> None:
        if self._scene is not None:
            bpy.data.scenes.remove(self._scene)
            self._scene = None
        if os.path.isdir(self._folder):
            os.rmdir(self._folder)
