"""Pictures without depth: folders, tar shards, films, bags. Each is a sequence of RGB uint8 arrays (H, W, 3)."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.files.film import describe, read_frames
from leadline.files.image import IMAGE_SUFFIXES, read_image
from leadline.files.inputs import VIDEO_SUFFIXES
from leadline.streaming.bags import count_pictures, is_bag, read_pictures

Rgb = npt.NDArray[np.uint8]

#: Frames of one film or bag that are kept, evenly over its length.
MOST_FRAMES = 2000


class Pictures(Protocol):
    """A sequence of pictures, read when asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Rgb: ...


class PictureFolder:
    """Every image below a folder, by name, and every image in the tar files below it (webdataset's shards).

    Args:
        root: A folder, or one tar file.

    Raises:
        InputError: There are none.
    """

    def __init__(self, root: Path) -> None:
        files = [root] if root.is_file() else sorted(root.rglob("*"))
        self._places: list[tuple[Path, int, int]] = []  # file, offset, length; a length of 0 is the whole file
        for path in files:
            if path.suffix.lower() == ".tar":
                self._places += [(path, member.offset_data, member.size) for member in _images_in(path)]
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                self._places.append((path, 0, 0))
        if not self._places:
            raise InputError(f"no training data in {root}; expected pictures, or tar files of pictures")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Rgb:
        path, offset, length = self._places[index]
        if length == 0:
            return read_image(path)
        with open(path, "rb") as file:
            file.seek(offset)
            return read_image(file.read(length))


class Recording:
    """Frames of a film or a bag, evenly over its length, kept in memory as PNG.

    Args:
        path: The film or bag.
        topic: Of a bag's images; None: the only one.
        most: Frames to keep.

    Raises:
        InputError: It cannot be read, or has no pictures.
    """

    def __init__(self, path: Path, topic: str | None = None, most: int = MOST_FRAMES) -> None:
        bag = is_bag(path)
        total = count_pictures(path, topic) if bag else describe(path).frames
        every = max(1, -(-total // most))
        frames: Iterable[Rgb] = (
            read_pictures(path, topic, every)
            if bag
            else (frame.rgb for number, frame in enumerate(read_frames(path)) if number % every == 0)
        )
        self._encoded = [cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes() for rgb in frames]
        if not self._encoded:
            raise InputError(f"{path} has no pictures in it")

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index: int) -> Rgb:
        return read_image(self._encoded[index])


def open_pictures(path: Path, topic: str | None = None) -> Pictures:
    """The pictures of a folder, a tar file, one image, a film or a bag.

    Raises:
        InputError: It is none of these, or has no pictures.
    """
    if is_bag(path) or path.suffix.lower() in VIDEO_SUFFIXES:
        return Recording(path, topic)
    if not path.exists():
        raise InputError(f"{path} does not exist; name a folder of pictures, a video or a bag")
    return PictureFolder(path)


def _images_in(path: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(path, "r:") as archive:
            members = [one for one in archive if one.isfile() and Path(one.name).suffix.lower() in IMAGE_SUFFIXES]
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} cannot be read as a tar file ({error}); it must not be compressed") from error
    yield from sorted(members, key=lambda member: member.name)
