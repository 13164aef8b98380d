"""The encodings in which data sets store depth. Bytes in, arrays out; damage is an :class:`InputError`."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from leadline.errors import InputError
from leadline.files.image import read_image
from leadline.types import RgbImage

FloatArray = npt.NDArray[np.float32]

#: MPI Sintel's check value at the head of a ``.dpt`` file.
_DPT_TAG = 202021.25
_MAX_PIXELS = 200_000_000


def rgb(data: bytes, name: str) -> RgbImage:
    """uint8 (H, W, 3) of an encoded image, as stored: ground truth does not follow EXIF orientation."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
            stored = np.asarray(opened.convert("RGB")) if orientation != 1 else None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # that one only names an address
        raise InputError(f"{name} is not an image that can be read{reason}") from error
    try:
        return read_image(data if stored is None else stored)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def png(data: bytes, name: str, scale: float) -> FloatArray:
    """(H, W) of a one-channel PNG (8 or 16 bit): stored value times ``scale``."""
    import cv2  # noqa: PLC0415

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if values is None:
        raise InputError(f"{name} is not an image that can be read")
    if values.ndim != 2:
        raise InputError(f"{name} has {values.shape[2]} channels; a depth PNG has one")
    return values.astype(np.float32) * np.float32(scale)


def npy(data: bytes, name: str) -> npt.NDArray[Any]:
    """The array in an ``.npy`` file, dimensions of length 1 removed."""
    array = _numpy_load(data, name)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} is not a NumPy array")
    return array.squeeze()


def npz(data: bytes, name: str, key: str) -> npt.NDArray[Any]:
    """One array of an ``.npz`` file."""
    return np.asarray(_numpy_load(data, name, key))


def _numpy_load(data: bytes, name: str, key: str | None = None) -> Any:
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        return loaded if key is None else loaded[key]
    except Exception as error:  # zipfile, zlib, tokenize and NumPy itself each raise their own kinds
        wanted = f" with an array called '{key}'" if key else ""
        raise InputError(f"{name} is not a NumPy file{wanted} that can be read ({error})") from error


def pfm(data: bytes, name: str) -> FloatArray:
    """(H, W) of a one-channel Portable Float Map, top row first. Infinity means unknown in Middlebury's files."""
    head = re.match(rb"(P[fF])\s+(\d+)\s+(\d+)\s+([-+.\deE]+)\s", data)
    if head is None:
        raise InputError(f"{name} is not a PFM file")
    kind, width, height = head[1], int(head[2]), int(head[3])
    try:
        order = "<" if float(head[4]) < 0 else ">"
    except ValueError as error:
        raise InputError(f"{name} has a PFM header with a bad scale") from error
    if kind != b"Pf":
        raise InputError(f"{name} is a colour PFM; a disparity map has one channel")
    return np.ascontiguousarray(raw_float32(data[head.end() :], name, height, width, order)[::-1])


def dpt(data: bytes, name: str) -> FloatArray:
    """(H, W) metres of an MPI Sintel ``.dpt`` depth file."""
    if len(data) < 12 or np.frombuffer(data[:4], "<f4")[0] != np.float32(_DPT_TAG):
        raise InputError(f"{name} is not a Sintel depth file")
    width, height = (int(n) for n in np.frombuffer(data[4:12], "<i4"))
    return raw_float32(data[12:], name, height, width)


def raw_float32(data: bytes, name: str, height: int, width: int, order: str = "<") -> FloatArray:
    """(H, W) float32 without a header, row by row."""
    if height < 1 or width < 1 or height * width > _MAX_PIXELS:
        raise InputError(f"{name} states a size of {width}×{height}, which cannot be right")
    if len(data) != 4 * height * width:
        raise InputError(f"{name} holds {len(data)} bytes of depth; {width}×{height} needs {4 * height * width}")
    return np.frombuffer(data, f"{order}f4").reshape(height, width).astype(np.float32)


def hdf5(data: bytes, name: str, key: str) -> npt.NDArray[Any]:
    """One data set of an HDF5 file (``.hdf5``, ``.h5``, ``.dsp5``)."""
    try:
        import h5py  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"{name} is HDF5; install h5py (pip install 'leadline[eval]')") from error
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            if key not in file:
                raise InputError(f"{name} has nothing called '{key}', only {', '.join(file) or 'nothing'}")
            return np.asarray(file[key])
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{name} is not an HDF5 file that can be read ({error})") from error


def numbers(data: bytes, name: str) -> list[list[float]]:
    """The numbers of each non-empty line of a text file; commas count as spaces."""
    try:
        lines = data.decode("ascii").replace(",", " ").splitlines()
        return [[float(word) for word in line.split()] for line in lines if line.strip()]
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{name} is not a table of numbers ({error})") from error
