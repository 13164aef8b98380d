"""OMNI-DC's published evaluation files: one pickled dictionary for a frame, with its exact sparse points."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from leadline.errors import InputError
from leadline.evaluation.datasets.base import Frame, Reader, Sample, matching, without_invalid
from leadline.evaluation.datasets.store import Store
from leadline.evaluation.protocols import RULES
from leadline.types import FloatMap

#: Cameras that its reader assumes where a file's folder or name says whose frame it is (fx, fy, cx, cy).
_CAMERAS = {"ETH3D": (425.0, 425.0, 320.0, 240.0), "iBims": (490.0, 490.0, 320.0, 240.0)}


class _ArrayType:
    """Stands for ``numpy.ndarray`` in a pickle: can be named there, and not called."""


def _empty_array(kind: Any, *_: Any) -> np.ndarray[Any, Any]:
    if kind is not _ArrayType:
        raise pickle.UnpicklingError("a subclass of numpy.ndarray")
    return np.ndarray((0,), "b")


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain values and NumPy arrays; every other name in the file is an error, nothing of it is run."""

    def find_class(self, module: str, name: str) -> Any:
        multiarray = module in ("numpy.core.multiarray", "numpy._core.multiarray")
        if multiarray and name == "_reconstruct":
            return _empty_array
        if (module, name) == ("numpy", "ndarray"):
            return _ArrayType
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def pickled_dictionary(data: bytes, name: str) -> dict[str, Any]:
    """The dictionary in a ``.npy`` file that ``numpy.save`` made of one, if there are only plain values and arrays in it.

    Raises:
        InputError: It is no such file, or names anything but NumPy arrays; nothing of it is run then.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        if shape != () or not dtype.hasobject:
            raise InputError(f"{name} holds an array, not a dictionary")
        loaded = _ArraysOnly(file).load()
    except InputError:
        raise
    except Exception as error:  # pickle may raise anything on damaged bytes
        raise InputError(f"{name} is not a dictionary of NumPy arrays that can be read ({error})") from error
    content = loaded.item() if isinstance(loaded, np.ndarray) and loaded.shape == () else loaded
    if not isinstance(content, dict):
        raise InputError(f"{name} is not a dictionary")
    return content


def _frames(store: Store) -> Iterator[Frame]:
    for m in matching(store, r"[^/]+\.npy"):
        yield Frame(m[0], (m[0],), PurePosixPath(m[0]).parent.name)


def _map(content: dict[str, Any], key: str, name: str) -> FloatMap:
    values = np.squeeze(np.asarray(content.get(key)))
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise InputError(f"{name}: '{key}' is not one (H, W) map of numbers")
    return without_invalid(values)


def _camera(content: dict[str, Any], name: str) -> tuple[float, float, float, float] | None:
    for part, camera in _CAMERAS.items():
        if part in name:
            return camera
    k = content.get("K")
    if not isinstance(k, np.ndarray | list | tuple):
        return None
    numbers = np.asarray(k, dtype=np.float64).ravel()
    if numbers.size == 4:
        fx, fy, cx, cy = (float(number) for number in numbers)
        return fx, fy, cx, cy
    return (float(numbers[0]), float(numbers[4]), float(numbers[2]), float(numbers[5])) if numbers.size == 9 else None


def _load(store: Store, frame: Frame) -> Sample:
    content = pickled_dictionary(store.read(frame.files[0]), frame.name)
    rgb = content.get("rgb")
    if not isinstance(rgb, np.ndarray) or rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise InputError(f"{frame.name}: 'rgb' is not a uint8 picture (H, W, 3)")
    truth, sparse = _map(content, "gt", frame.name), _map(content, "dep", frame.name)
    return Sample(frame.name, rgb, truth, sparse_m=sparse, intrinsics=_camera(content, frame.name))


READERS = (
    Reader(
        "omnidc",
        "OMNI-DC's published frames",
        "[SET/]N.npy with rgb, gt, dep (the sparse points) and K, read without running anything; use --pattern given",
        _frames,
        _load,
        RULES["omnidc"],
    ),
)
