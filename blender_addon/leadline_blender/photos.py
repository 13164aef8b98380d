# SPDX-License-Identifier: GPL-3.0-or-later
"""Photographs: what goes to the server, and what Blender shows of them.

Blender does not turn images by their EXIF orientation. So an image data-block, and every map beside it, stays as the file
stores it; what people see is upright, and the texture coordinates of a mesh make up the difference.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from leadline.errors import InputError
from leadline.files.encoded import encoded_alpha, encoded_size
from leadline.geometry import Pinhole, as_stored, focal_px_from_photo
from leadline.geometry.exif import orientation_from_bytes, read_head
from leadline.serving.protocol.messages import Limits

from . import host
from .host import present
from .properties import settings_of
from .smaller import Picture, made_smaller
from .stored import StoredImage
from .task import Report

#: Long edge of the pixels and maps that the add-on works with; a model sees fewer.
WORKING_EDGE = 2048
RENDER_NAME = "Leadline Render"


@dataclass(frozen=True)
class Photo:
    """What goes to the server, detached from Blender's data: an undo or a new file cannot pull it away.

    Attributes:
        name: For people.
        sent: A JPEG or PNG file, or its content, which the server turns upright; None if only Blender can read it: see :meth:`content`.
        image: Name of the image data-block; empty if it is yet to be made from ``filepath`` or ``sent``.
        filepath: Absolute, or empty if the image is not a file.
    """

    name: str
    sent: Path | bytes | None
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
        if not isinstance(self.sent, bytes):
            raise InputError(f"the image {self.name} is gone; choose it again")
        return image_from_png(self.sent, self.name, image)

    def content(self, report: Report) -> bytes | np.ndarray:
        """What the server is sent: the content of a file, or uint8 (H, W, 3), upright. For the thread, as disks may be slow."""
        if self.sent is None:
            return upright_pixels(report, self.data_block)
        if isinstance(self.sent, bytes):
            return self.sent
        try:
            return self.sent.read_bytes()
        except OSError as error:
            raise InputError(f"the file {self.sent} cannot be read: {error.strerror}") from error


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
    return Photo(name, _sendable(path), filepath=path)


def photo_from_image(image: bpy.types.Image) -> Photo:
    """The photograph in an image data-block, as it looks on screen."""
    path = bpy.path.abspath(image.filepath) if image.source == "FILE" and image.filepath else ""
    sent: Path | bytes | None = None
    if not image.is_dirty:
        sent = _packed(image) if image.packed_file else _sendable(path) if path else None
    return Photo(image.name, sent, image.name, path)


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
    return orientation_from_bytes(_head(image)) if image.source in ("FILE", "SEQUENCE") else 1


def upright_size(image: bpy.types.Image, orientation: int) -> tuple[int, int]:
    """(height, width) as people see the image."""
    width, height = _known_size(image) or image.size
    if not width or not height:
        raise InputError(f"the image {image.name} has no pixels; is its file missing?")
    return (width, height) if orientation >= 5 else (height, width)


def _known_size(image: bpy.types.Image) -> tuple[int, int] | None:
    """(width, height) by the first bytes of a JPEG or PNG file that Blender has not decoded yet, as that takes long."""
    return None if image.has_data or image.source != "FILE" else encoded_size(_head(image))


def read(report: Report, image: Callable[[], bpy.types.Image], edge: int = WORKING_EDGE) -> StoredImage:
    """The numbers of a picture, no larger than ``edge`` pixels on a side, for the thread.

    ``image`` gives the picture, in the main thread. A large file is decoded and scaled by a second Blender; an image that is
    only in memory is copied, which takes far less.
    """
    picture = report.on_main(lambda: _for_a_second_blender(image(), edge))
    smaller = None if picture is None else made_smaller(report, picture, edge)
    if smaller is not None:
        return smaller
    # Blender decodes it now if it must. The thread makes the memory ready, which otherwise takes longer than the copy.
    ready = np.full(report.on_main(lambda: _shape(image())), np.float32(0))
    return report.on_main(lambda: stored(image(), orientation_of(image()), ready)).at_most(edge)


def _for_a_second_blender(image: bpy.types.Image, edge: int) -> Picture | None:
    """What a second Blender needs to make a large file smaller; None if the image is small, or not what its file is."""
    if image.source != "FILE" or image.is_dirty or not (image.packed_file or image.filepath):
        return None
    size = tuple(image.size) if image.has_data else _known_size(image)
    if size is not None and max(size) <= edge:
        return None
    return Picture(
        host.blender_command(),
        _content(image) if image.packed_file else bpy.path.abspath(image.filepath),
        os.path.splitext(image.filepath)[1],
        str(present(image.colorspace_settings).name),
        str(image.alpha_mode),
        orientation_of(image),
    )


def _shape(image: bpy.types.Image) -> tuple[int, int, int]:
    """(H, W, C) of the numbers of an image."""
    return (*upright_size(image, 1), image.channels)


def stored(image: bpy.types.Image, orientation: int, ready: np.ndarray | None = None) -> StoredImage:
    """The numbers of an image as it is, in the main thread. ``ready``: float32 of its shape, to be filled."""
    shape = _shape(image)
    values = np.empty(shape, np.float32) if ready is None or ready.shape != shape else ready
    host.pixels(image).foreach_get(values.reshape(-1))
    linear = image.is_float and present(image.colorspace_settings).name != "sRGB"  # type: ignore[comparison-overlap]
    return StoredImage(values, linear, orientation)


def pixels_of(image: bpy.types.Image) -> np.ndarray:
    """uint8 (H, W, 4), as the file lies, row 0 at the top, as it looks on screen."""
    return stored(image, 1).picture()


def has_alpha(image: bpy.types.Image) -> bool:
    """Whether the file behind an image keeps transparency."""
    if image.alpha_mode == "NONE":
        return False
    told = None if image.has_data or image.source != "FILE" else encoded_alpha(_head(image))
    return image.depth in (32, 64, 128) if told is None else told


def _head(image: bpy.types.Image) -> bytes:
    """The first bytes of the file behind an image, or all of one that is packed into the .blend."""
    return _content(image) if image.packed_file else read_head(bpy.path.abspath(image.filepath))


def _content(image: bpy.types.Image) -> bytes:
    """The file that is packed into the .blend."""
    content: bytes = present(image.packed_file).data  # type: ignore[assignment]  # bytes, not str
    return content


def _sendable(path: str) -> Path | None:
    """A JPEG or PNG file that a server takes as it is; None if Blender has to read it."""
    return Path(path) if _taken(read_head(path), os.path.getsize(path)) else None


def _taken(head: bytes, size: int) -> bool:
    """Whether a server takes a file of so many bytes that begins like this."""
    limits, pixels = Limits(), encoded_size(head)
    return pixels is not None and 0 < pixels[0] * pixels[1] <= limits.megapixels * 1e6 and size <= limits.image_bytes


def _packed(image: bpy.types.Image) -> bytes | None:
    """The JPEG or PNG file packed into a .blend, if a server takes it as it is; None if Blender has to read it."""
    content = _content(image)
    return content if _taken(content, len(content)) else None


def upright_pixels(report: Report, image: Callable[[], bpy.types.Image], edge: int = WORKING_EDGE) -> np.ndarray:
    """uint8 (H, W, 3), upright, no longer than ``edge`` pixels; as :func:`read`."""
    return np.ascontiguousarray(read(report, image, edge).picture()[..., :3])


def upright_working_size(image: bpy.types.Image, edge: int = WORKING_EDGE) -> tuple[int, int]:
    """(height, width) of what :func:`upright_pixels` gives."""
    height, width = upright_size(image, orientation_of(image))
    shrink = min(1.0, edge / max(height, width))
    return max(round(height * shrink), 1), max(round(width * shrink), 1)


def image_from_png(content: bytes, name: str, image: bpy.types.Image | None) -> bpy.types.Image:
    """A packed image from the content of a PNG file; an existing one is filled anew."""
    with tempfile.TemporaryDirectory(prefix="leadline-") as folder:
        path = Path(folder) / "picture.png"
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


def read_map(image: bpy.types.Image, orientation: int = 1) -> np.ndarray:
    """The first channel of an image as float32 (H, W), row 0 at the top, upright."""
    return stored(image, orientation).numbers()
