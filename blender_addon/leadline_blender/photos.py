# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of Blender as arrays and back: photographs go out, depth comes in."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .leadline.errors import InputError
from .leadline.geometry import Camera, focal_px_from_photo


@dataclass(frozen=True)
class Photo:
    """A photograph, detached from Blender's data: an undo or a new file cannot pull it away.

    Attributes:
        name: Of the image data-block.
        filepath: Absolute, or empty if the image is not a file.
        pixels: uint8 (H, W, 3), row 0 at the top, as the image shows on screen.
    """

    name: str
    filepath: str
    pixels: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def data_block(self) -> bpy.types.Image:
        """The image in Blender; loaded again, or made from the pixels, if it is gone."""
        image = bpy.data.images.get(self.name)
        if image is not None and tuple(image.size) == self.size[::-1]:
            return image
        if self.filepath and os.path.exists(self.filepath):
            return bpy.data.images.load(self.filepath, check_existing=True)
        image = bpy.data.images.new(self.name, self.size[1], self.size[0])
        flat = np.ones((*self.size, 4), np.float32)
        flat[..., :3] = self.pixels[::-1] / np.float32(255)
        image.pixels.foreach_set(flat.ravel())
        image.pack()
        return image


def photo_from_settings(context: bpy.types.Context) -> Photo:
    """The photograph that the panel points to.

    Raises:
        InputError: There is none, with what to do.
    """
    settings = context.scene.leadline
    if settings.source == "FILE":
        return photo_from_file(settings.filepath)
    if settings.source == "IMAGE":
        if settings.image is None:
            raise InputError("choose an image in the Leadline panel first")
        return photo_from_image(settings.image)
    if settings.source == "RENDER":
        return photo_from_render()
    return photo_from_image(_background_image(context))


def photo_from_file(filepath: str) -> Photo:
    path = bpy.path.abspath(filepath) if filepath else ""
    if not path:
        raise InputError("choose a photograph in the Leadline panel first")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path}")
    try:
        image = bpy.data.images.load(path, check_existing=True)
    except RuntimeError as error:
        raise InputError(f"Blender cannot read {os.path.basename(path)} as an image") from error
    return photo_from_image(image)


def photo_from_image(image: bpy.types.Image) -> Photo:
    """The pixels of an image data-block as they look on screen (sRGB for 8-bit images)."""
    width, height = image.size
    if not width or not height:
        raise InputError(f"the image {image.name} has no pixels; is its file missing?")
    raw = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(raw)
    colours = raw.reshape(height, width, image.channels)[::-1]
    colours = colours[..., :3] if image.channels >= 3 else colours[..., :1].repeat(3, axis=2)
    if image.is_float and image.colorspace_settings.name != "sRGB":
        colours = _linear_to_srgb(colours)
    pixels = (np.clip(colours, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    path = bpy.path.abspath(image.filepath) if image.source == "FILE" and image.filepath else ""
    return Photo(image.name, path, pixels)


def photo_from_render() -> Photo:
    """The last render, by way of a file: Blender gives no access to the pixels of a render result."""
    render = bpy.data.images.get("Render Result")
    if render is None:
        raise InputError("nothing has been rendered yet; render the scene (F12) first")
    path = os.path.join(tempfile.mkdtemp(prefix="leadline-"), "Leadline Render.png")
    try:
        render.save_render(path)
        image = bpy.data.images.load(path)
        image.name = "Leadline Render"
        image.pack()
        image.filepath = ""
        return photo_from_image(image)
    except RuntimeError as error:
        raise InputError("nothing has been rendered yet; render the scene (F12) first") from error
    finally:
        if os.path.exists(path):
            os.remove(path)
        os.rmdir(os.path.dirname(path))


def _background_image(context: bpy.types.Context) -> bpy.types.Image:
    camera = context.scene.camera
    if camera is None:
        raise InputError("the scene has no active camera")
    for background in camera.data.background_images:
        if background.source == "IMAGE" and background.image is not None:
            return background.image
    raise InputError(f"the camera {camera.name} has no background image")


def _linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.maximum(linear, 0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def camera_of(photo_path: str, size: tuple[int, int], options: Any) -> Camera:
    """The camera that the options ask for."""
    height, width = size
    if options.focal_from == "LENS":
        return Camera.from_lens(width, height, options.lens_mm)
    if options.focal_from == "FOV":
        return Camera.from_fov(width, height, float(np.degrees(options.fov)))
    focal_px = focal_px_from_photo(photo_path, width, height) if photo_path else None
    return Camera(width, height, focal_px) if focal_px else Camera.default(width, height)


def write_map(values: np.ndarray, name: str, existing: bpy.types.Image | None) -> bpy.types.Image:
    """A float32 (H, W) map as a packed 32-bit image, Non-Color; in place if the image already exists."""
    height, width = values.shape
    image = existing
    if image is None or tuple(image.size) != (width, height):
        image = bpy.data.images.new(name, width, height, float_buffer=True, is_data=True)
    flat = np.ones((height, width, 4), np.float32)
    flat[..., :3] = values[::-1, :, None]
    image.pixels.foreach_set(flat.ravel())
    image.update()
    image.pack()
    return image


def read_map(image: bpy.types.Image) -> np.ndarray:
    """The first channel of an image as float32 (H, W), row 0 at the top."""
    width, height = image.size
    raw = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(raw)
    return np.ascontiguousarray(raw.reshape(height, width, image.channels)[::-1, :, 0])
