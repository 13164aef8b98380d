# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs: what goes to the server, and what Blender shows of them.

Blender does not turn images by their EXIF orientation. So an image data-block, and every map beside it, stays as the file
stores it; what people see is upright, and the texture coordinates of a mesh make up the difference.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from leadline.errors import InputError
from leadline.files.encoded import encoded_size
from leadline.geometry import Pinhole, as_stored, focal_px_from_photo, upright
from leadline.geometry.exif import orientation_from_bytes, read_head
from leadline.serving.protocol.messages import Limits

from . import host
from .host import present
from .properties import settings_of

#: Long edge of the pixels and maps that the add-on works with; a model sees fewer.
WORKING_EDGE = 2048
RENDER_NAME = "Leadline Render"


@dataclass(frozen=True)
class Photo:
    """What goes to the server, detached from Blender's data: an undo or a new file cannot pull it away.

    Attributes:
        name: For people.
        sent: Content of a JPEG or PNG file, which the server turns upright; or uint8 (H, W, 3), upright.
        image: Name of the image data-block; empty if it is yet to be made from ``filepath`` or ``sent``.
        filepath: Absolute, or empty if the image is not a file.
    """

    name: str
    sent: bytes | np.ndarray
    image: str = ""
    filepath: str = ""

    def data_block(self, update: bool = True) -> bpy.types.Image:
        """The image in Blender; loaded again, or made from what was sent, if it is gone.

        ``update``: whether a render takes the place of the one before.
        """
        image = host.item(bpy.data.images, self.image) if self.image else None
        if image is not None:
            return image
        if self.filepath and os.path.exists(self.filepath):
            try:
                return bpy.data.images.load(self.filepath, check_existing=True)
            except RuntimeError as error:
                raise InputError(f"Blender cannot read {self.name} as an image") from error
        image = host.item(bpy.data.images, self.name) if update else None
        if isinstance(self.sent, bytes):
            return _from_encoded(self.sent, self.name, image)
        height, width = self.sent.shape[:2]
        image = bpy.data.images.new(self.name, width, height)
        flat = np.ones((height, width, 4), np.float32)
        flat[..., :3] = self.sent[::-1] / np.float32(255)
        host.pixels(image).foreach_set(flat.ravel())
        image.pack()
        return image


def photo_from_settings(context: bpy.types.Context) -> Photo:
    """The photograph that the panel points to.

    Raises:
        InputError: There is none, with what to do.
    """
    settings = settings_of(context)
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
    name = os.path.basename(path)
    if (content := _sendable(path)) is not None:
        return Photo(name, content, filepath=path)
    try:
        image = bpy.data.images.load(path)
    except RuntimeError as error:
        raise InputError(f"Blender cannot read {name} as an image") from error
    try:
        return Photo(name, upright_pixels(image), filepath=path)
    finally:
        bpy.data.images.remove(image)


def photo_from_image(image: bpy.types.Image) -> Photo:
    """The photograph in an image data-block, as it looks on screen."""
    path = bpy.path.abspath(image.filepath) if image.source == "FILE" and image.filepath else ""
    if path and not image.is_dirty and not image.packed_file and (content := _sendable(path)) is not None:
        return Photo(image.name, content, image.name, path)
    return Photo(image.name, upright_pixels(image), image.name, path)


def photo_from_render() -> Photo:
    """The last render, by way of a file: Blender gives no access to the pixels of a render result."""
    render = host.item(bpy.data.images, "Render Result")
    if render is None:
        raise InputError("nothing has been rendered yet; render the scene (F12) first")
    settings = present(bpy.context.scene).render.image_settings
    kept = settings.file_format, settings.color_mode
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        path = Path(folder) / "render.png"
        try:
            settings.file_format, settings.color_mode = "PNG", "RGBA"
            render.save_render(str(path))
            return Photo(RENDER_NAME, path.read_bytes())
        except (RuntimeError, OSError) as error:
            raise InputError("nothing has been rendered yet; render the scene (F12) first") from error
        finally:
            settings.file_format, settings.color_mode = kept


def orientation_of(image: bpy.types.Image) -> int:
    """The EXIF orientation of the file behind an image data-block; 1 if there is none."""
    if image.source not in ("FILE", "SEQUENCE"):
        return 1
    if image.packed_file:
        return orientation_from_bytes(image.packed_file.data)  # type: ignore[arg-type]  # bytes, not str
    return orientation_from_bytes(read_head(bpy.path.abspath(image.filepath)))


def upright_size(image: bpy.types.Image, orientation: int) -> tuple[int, int]:
    """(height, width) as people see the image."""
    width, height = image.size
    if not width or not height:
        raise InputError(f"the image {image.name} has no pixels; is its file missing?")
    return (width, height) if orientation >= 5 else (height, width)


def pixels_of(image: bpy.types.Image) -> np.ndarray:
    """uint8 (H, W, 4), as stored, row 0 at the top, as they look on screen (sRGB for 8-bit images)."""
    width, height = image.size
    if not width or not height:
        raise InputError(f"the image {image.name} has no pixels; is its file missing?")
    raw = np.empty(width * height * image.channels, np.float32)
    host.pixels(image).foreach_get(raw)
    given = raw.reshape(height, width, image.channels)[::-1]
    colours = np.ones((height, width, 4), np.float32)
    if image.channels >= 3:
        colours[..., : image.channels] = given
    else:
        colours[..., :3] = given[..., :1]
    if image.is_float and present(image.colorspace_settings).name != "sRGB":  # type: ignore[comparison-overlap]
        colours[..., :3] = _linear_to_srgb(colours[..., :3])
    return (np.clip(colours, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def working_pixels(image: bpy.types.Image, size: tuple[int, int], orientation: int) -> np.ndarray:
    """uint8 (H, W, 4) of an image at another size (height, width), upright."""
    seen = upright(pixels_of(image), orientation)
    rows = (np.arange(size[0]) + 0.5) * seen.shape[0] // size[0]
    columns = (np.arange(size[1]) + 0.5) * seen.shape[1] // size[1]
    return seen[rows.astype(int)[:, None], columns.astype(int)]


def has_alpha(image: bpy.types.Image) -> bool:
    """Whether the file behind an image keeps transparency."""
    return image.alpha_mode != "NONE" and image.depth in (32, 64, 128)


def _sendable(path: str) -> bytes | None:
    """The content of a JPEG or PNG file that a server takes as it is; None if Blender has to read it."""
    head, limits = read_head(path), Limits()
    size = encoded_size(head)
    if size is None or not 0 < size[0] * size[1] <= limits.megapixels * 1e6:
        return None
    return Path(path).read_bytes() if os.path.getsize(path) <= limits.image_bytes else None


def upright_pixels(image: bpy.types.Image, edge: int = WORKING_EDGE) -> np.ndarray:
    """uint8 (H, W, 3), upright, no longer than ``edge`` pixels. A clean large image is scaled in a copy."""
    orientation = orientation_of(image)
    height, width = upright_size(image, 1)
    shrink = edge / max(height, width)
    if shrink >= 1:
        return np.ascontiguousarray(upright(pixels_of(image)[..., :3], orientation))
    if image.source == "FILE" and not image.is_dirty and image.filepath:
        smaller = image.copy()
        try:
            smaller.scale(max(round(width * shrink), 1), max(round(height * shrink), 1))
            return np.ascontiguousarray(upright(pixels_of(smaller)[..., :3], orientation))
        finally:
            bpy.data.images.remove(smaller)
    height, width = upright_size(image, orientation)
    size = max(round(height * shrink), 1), max(round(width * shrink), 1)
    return np.ascontiguousarray(working_pixels(image, size, orientation)[..., :3])


def _from_encoded(content: bytes, name: str, image: bpy.types.Image | None) -> bpy.types.Image:
    """A packed image from the content of a PNG file; an existing one is filled anew."""
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        path = Path(folder) / f"{name}.png"
        path.write_bytes(content)
        new = bpy.data.images.load(str(path))
        new.pack()
        new.filepath = ""
    if image is not None:
        image.user_remap(new)
        bpy.data.images.remove(image)
    new.name = name
    return new


def _background_image(context: bpy.types.Context) -> bpy.types.Image:
    camera = present(context.scene).camera
    if camera is None:
        raise InputError("the scene has no active camera")
    for background in host.camera_of(camera).background_images:
        if background.source == "IMAGE" and background.image is not None:
            return background.image
    raise InputError(f"the camera {camera.name} has no background image")


def _linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    linear = np.maximum(linear, 0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def camera_of(image: bpy.types.Image, size: tuple[int, int], options: Any) -> Pinhole:
    """The camera that the options ask for, of a photograph of (height, width)."""
    height, width = size
    if options.focal_from == "LENS":
        return Pinhole.from_lens(width, height, options.lens_mm)
    if options.focal_from == "FOV":
        return Pinhole.from_fov(width, height, float(np.degrees(options.fov)))
    path = bpy.path.abspath(image.filepath) if image.source in ("FILE", "SEQUENCE") and image.filepath else ""
    focal_px = focal_px_from_photo(path, width, height) if path else None
    return Pinhole(width, height, focal_px) if focal_px else Pinhole.default(width, height)


def write_map(values: np.ndarray, name: str, existing: bpy.types.Image | None, orientation: int) -> bpy.types.Image:
    """A float32 map (H, W), or colours (H, W, 3), as a packed 32-bit image, Non-Color; in place if the image already exists.

    The map is upright; the image lies as the photograph of that orientation is stored.
    """
    stored = as_stored(values, orientation)
    height, width = stored.shape[:2]
    image = existing
    if image is None:
        image = bpy.data.images.new(name, width, height, float_buffer=True, is_data=True)
    elif tuple(image.size) != (width, height):
        image.scale(width, height)
    flat = np.ones((height, width, 4), np.float32)
    flat[..., :3] = np.atleast_3d(stored)[::-1]
    host.pixels(image).foreach_set(flat.ravel())
    image.update()
    image.pack()
    return image


def write_colours(colours: np.ndarray, name: str, existing: bpy.types.Image | None) -> bpy.types.Image:
    """uint8 (H, W, 3) as a packed image; in place if the image already exists."""
    height, width = colours.shape[:2]
    image = existing
    if image is None:
        image = bpy.data.images.new(name, width, height)
    elif tuple(image.size) != (width, height):
        image.scale(width, height)
    flat = np.ones((height, width, 4), np.float32)
    flat[..., :3] = colours[::-1] / np.float32(255)
    host.pixels(image).foreach_set(flat.ravel())
    image.update()
    image.pack()
    return image


def read_map(image: bpy.types.Image, orientation: int = 1) -> np.ndarray:
    """The first channel of an image as float32 (H, W), row 0 at the top, upright."""
    width, height = image.size
    raw = np.empty(width * height * image.channels, np.float32)
    host.pixels(image).foreach_get(raw)
    return np.ascontiguousarray(upright(raw.reshape(height, width, image.channels)[::-1, :, 0], orientation))
