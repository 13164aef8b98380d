"""Reading images: anything → RGB uint8 (H, W, 3)."""

from __future__ import annotations

import io
import stat
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from leadline.errors import InputError
from leadline.files.absent import absent
from leadline.types import RgbImage

if TYPE_CHECKING:
    from torch import Tensor

#: A path, encoded bytes, a PIL image, a NumPy array or a torch tensor.
ImageLike: TypeAlias = Union[str, Path, bytes, bytearray, memoryview, Image.Image, npt.NDArray[Any], "Tensor"]

MAX_MEGAPIXELS = 100
MIN_SIDE_PX = 8

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".jp2",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
    }
)

Image.MAX_IMAGE_PIXELS = None  # our own limit below speaks first, for every format


def read_image(image: ImageLike, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """Any image to contiguous RGB uint8 (H, W, 3).

    Paths and bytes are decoded and turned upright by their EXIF orientation. Grey becomes RGB, alpha is dropped,
    16-bit values keep their high byte (rounded), floats are taken as [0, 1]. Torch tensors may be (3, H, W) or
    (H, W, 3).

    Raises:
        InputError: The file is missing, damaged or not an image; the array is not an image, holds NaN or is out of
            range; a side is under 8 pixels or the whole is over ``max_megapixels``.
    """
    if isinstance(image, str | Path):
        path = Path(image)
        _check_file(path)
        return _read_encoded(path, str(path), max_megapixels)
    if isinstance(image, bytes | bytearray | memoryview):
        return _read_encoded(io.BytesIO(image), "the image", max_megapixels)
    if isinstance(image, Image.Image):
        return _from_pil(image, "the image", max_megapixels)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(image, torch.Tensor):
        array = image.detach().cpu()
        array = array.float().numpy() if array.is_floating_point() else array.numpy()
        return _from_array(np.moveaxis(array, 0, -1) if _is_channels_first(array.shape) else array, max_megapixels)
    if isinstance(image, np.ndarray):
        return _from_array(image, max_megapixels)
    raise InputError(f"a {type(image).__name__} is not an image; give a path, PIL image, NumPy array or torch tensor")


def count_frames(path: Path) -> int:
    """Pictures in an image file: more than 1 for an animation or a TIFF of several pages; 0 if it cannot be read."""
    try:
        with _opened(path) as opened:
            return int(getattr(opened, "n_frames", 1))
    except (OSError, SyntaxError, ValueError, EOFError):
        return 0


def _check_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise absent(path) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason}); check the path") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder; name an image file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is not a file; save the image as a file first")


@cache
def _understand_heic() -> bool:
    """HEIC photographs, where pillow-heif is installed."""
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415
    except ImportError:
        return False
    register_heif_opener()
    return True


def _opened(source: Path | io.BytesIO) -> Image.Image:
    """An image, whose reader for HEIC is loaded only when no other knows it."""
    try:
        return Image.open(source)
    except UnidentifiedImageError:
        if not _understand_heic():
            raise
        return Image.open(source)


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4)


def _read_encoded(source: Path | io.BytesIO, name: str, max_megapixels: float) -> RgbImage:
    try:
        with _opened(source) as opened:
            return _from_pil(opened, name, max_megapixels)
    except UnidentifiedImageError as error:
        if not _understand_heic() and Path(name).suffix.lower() in (".heic", ".heif"):
            raise InputError(f"{name}: reading HEIC needs pip install 'leadline[heic]'; or save it as JPEG") from error
        empty = isinstance(source, Path) and source.stat().st_size == 0
        reason = "is empty (0 bytes)" if empty else "is not an image that can be read"
        raise InputError(f"{name} {reason}; save it again as JPEG or PNG") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{name} is damaged ({error}); copy or save it again") from error


def _from_pil(image: Image.Image, name: str, max_megapixels: float) -> RgbImage:
    width, height = image.size
    _check_size(height, width, name, max_megapixels)
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        values = np.asarray(upright)
        if upright.mode == "I" or upright.mode.startswith("I;16"):
            values = np.clip(values, 0, 65535).astype(np.uint16)
        return _from_array(values, max_megapixels)
    return np.array(upright.convert("RGB"))


def _from_array(array: npt.NDArray[Any], max_megapixels: float) -> RgbImage:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InputError(f"an image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {array.shape}")
    _check_size(array.shape[0], array.shape[1], "the image", max_megapixels)
    rgb = array[:, :, :3]
    if rgb.dtype == np.uint16:
        rgb = ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif np.issubdtype(rgb.dtype, np.floating):
        if not np.isfinite(rgb).all():
            raise InputError("the image has NaN or infinite values; replace them before predicting")
        low, high = float(rgb.min()), float(rgb.max())
        if low < -1e-6 or high > 1.0 + 1e-6:
            raise InputError(f"a float image lies in [0, 1], this one in [{low:.3g}, {high:.3g}]; scale it")
        rgb = np.rint(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    elif rgb.dtype != np.uint8:
        raise InputError(f"an image array is uint8, uint16 or float in [0, 1], not {rgb.dtype}; convert it")
    if rgb.shape[2] == 1:
        rgb = np.repeat(rgb, 3, axis=2)
    return np.ascontiguousarray(rgb)


def _check_size(height: int, width: int, name: str, max_megapixels: float) -> None:
    if min(height, width) < MIN_SIDE_PX:
        raise InputError(f"{name} is {width}×{height} pixels; each side needs at least {MIN_SIDE_PX}")
    if height * width > max_megapixels * 1e6:
        raise InputError(
            f"{name} is {width}×{height} ({height * width / 1e6:.0f} megapixels, the limit is {max_megapixels:g}); shrink it first"
        )
