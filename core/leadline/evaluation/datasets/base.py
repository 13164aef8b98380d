"""Samples, frames and readers: the same shape for every data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.evaluation.datasets.store import Store
from leadline.evaluation.protocols import Rules
from leadline.types import BoolMap, FloatMap

#: (row 1, column 1, row 2, column 2) of two points; the first is nearer.
OrderedPair = tuple[int, int, int, int]


@dataclass(frozen=True)
class Sample:
    """One image with what is known about its depth.

    Attributes:
        name: Unique within the data set.
        image: uint8 RGB (H, W, 3).
        depth_m: float32 (H, W), z along the optical axis, 0 where unknown; ``None`` if this set has no depth.
        valid: bool (H, W), the data set's own mask; ``None`` means "wherever there is depth".
        sparse_m: float32 (H, W), the measured points that a completion starts from, if the set brings them.
        pairs: Points with known order.
        matte: float32 (H, W) in [0, 1], alpha or segmentation.
        intrinsics: (fx, fy, cx, cy) in pixels, centres of pixels at whole numbers.
        metric: False if ``depth_m`` is known only up to an unknown scale and disparity offset.
        group: Sequence or scenario, for tables by group.
    """

    name: str
    image: npt.NDArray[np.uint8]
    depth_m: FloatMap | None = None
    valid: BoolMap | None = None
    sparse_m: FloatMap | None = None
    pairs: tuple[OrderedPair, ...] = ()
    matte: FloatMap | None = None
    intrinsics: tuple[float, float, float, float] | None = None
    metric: bool = True
    group: str = ""


@dataclass(frozen=True)
class Frame:
    """Where one sample lies; what the files are is the reader's business, the first is the image.

    Attributes:
        without_truth: The data set itself has no ground truth for this image (45 of KITTI's Eigen frames).
        absent: A list names it, and it is not in the layout.
    """

    name: str
    files: tuple[str, ...]
    group: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    without_truth: bool = False
    absent: bool = False


@dataclass(frozen=True)
class Reader:
    """How one data set is laid out on disk.

    Attributes:
        name: What ``--dataset`` calls it.
        title: For tables.
        layout: The published layout, in one line.
        index: Finds the frames among a store's paths.
        load: Decodes one frame.
        rules: Range caps, crop and resolution.
    """

    name: str
    title: str
    layout: str
    index: Callable[[Store], Iterable[Frame]]
    load: Callable[[Store, Frame], Sample]
    rules: Rules = Rules()  # noqa: RUF009  (frozen)


@dataclass(frozen=True)
class Dataset:
    """The frames of one reader under one root. Decodes lazily; can be sent to another process.

    Attributes:
        left_out: How many images the data set has no ground truth for; they are not among ``frames``.
        not_asked: How many more frames there are, beyond the number that was asked for.
    """

    reader: Reader
    store: Store
    frames: tuple[Frame, ...]
    left_out: int = 0
    not_asked: int = 0

    @property
    def name(self) -> str:
        return self.reader.name

    def __len__(self) -> int:
        return len(self.frames)

    def described(self) -> dict[str, str | int]:
        """Plain values for a summary: name, title, root, number of images."""
        return {"name": self.name, "title": self.reader.title, "root": str(self.store.root), "images": len(self)}

    def load(self, index: int) -> Sample:
        """Decode one frame.

        Raises:
            InputError: A file is missing, damaged, or does not fit the others of its frame.
        """
        frame = self.frames[index]
        if frame.absent:
            raise InputError(f"{frame.files[0]} is missing under {self.store.root}")
        sample = replace(self.reader.load(self.store, frame), name=frame.name, group=frame.group)
        size = sample.image.shape[:2]
        for what in ("depth_m", "valid", "sparse_m", "matte"):
            array = getattr(sample, what)
            if array is not None and array.shape != size:
                raise InputError(
                    f"{frame.name}: the image is {size[1]}×{size[0]}, its {what.removesuffix('_m')} is "
                    f"{'×'.join(str(n) for n in array.shape[::-1])}; they must be of one size"
                )
        return sample

    def select(self, indices: Iterable[int]) -> Dataset:
        """Some of the frames."""
        return replace(self, frames=tuple(self.frames[i] for i in indices))


def matching(store: Store, pattern: str) -> Iterator[re.Match[str]]:
    """A store's paths that match ``pattern`` from their start or after a slash."""
    compiled = re.compile(rf"(?:.*/)?{pattern}")
    return (match for path in store.paths() if (match := compiled.fullmatch(path)))


def without_invalid(depth_m: npt.NDArray[Any]) -> FloatMap:
    """float32 with NaN, infinity and everything below 0 turned into 0, the one sign for "not measured"."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, 0.0).astype(np.float32)


#: A column of a split list: a file's name ends with its suffix, so that names may hold spaces; else a word.
_COLUMN = re.compile(r"None(?=\s|$)|\S.*?\.[A-Za-z]\w{1,4}(?=\s|$)|\S+")
_FILE = re.compile(r".*\.[A-Za-z]\w{1,4}")


def apply_split(frames: Iterable[Frame], listing: str, name: str, paths: Collection[str]) -> list[Frame]:
    """The frames that a split list names, in its order.

    Each line holds paths relative to the root, the image first, as in Marigold's lists: further paths replace the
    frame's files in their order (NYU's raw or filled depth, for one), other columns (KITTI's focal length) say nothing
    here. A line may also hold an image's name alone, without folder and suffix, as in iBims-1's list. Lines whose ground
    truth is ``None`` are frames without truth.

    Args:
        frames: What the layout holds.
        listing: The list's text. ``name`` is the list's own, for complaints.
        paths: Every file under the root: a listed frame may lie outside of the layout.
    """
    known = {frame.files[0]: frame for frame in frames}
    stems: dict[str, Frame | None] = {}
    for path, frame in known.items():
        stem = PurePosixPath(path).stem
        stems[stem] = None if stem in stems else frame
    chosen = []
    for line in listing.splitlines():
        words = _COLUMN.findall(line.strip())
        if not words:
            continue
        image = words[0]
        files = [image, *(word for word in words[1:] if _FILE.fullmatch(word))]
        found = known.get(image) or stems.get(image)
        if "None" in words[1:2]:
            chosen.append(replace(found or Frame(image, (image,)), without_truth=True))
        elif found is not None:
            chosen.append(replace(found, files=(found.files[0], *files[1:], *found.files[len(files) :])))
        else:
            chosen.append(Frame(image, tuple(files), absent=image not in paths))
    if not chosen:
        raise InputError(f"{name} lists no frames; want lines of paths relative to --root, image first")
    return chosen
