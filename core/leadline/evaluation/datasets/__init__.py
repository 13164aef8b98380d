"""Readers for the data sets of the depth literature, each in its published layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from leadline.errors import InputError
from leadline.evaluation.datasets import captured, folders, omnidc, rendered, zero_shot
from leadline.evaluation.datasets.base import Dataset, Frame, Reader, Sample, apply_split
from leadline.evaluation.datasets.store import open_store
from leadline.evaluation.protocols import CROPS

READERS: dict[str, Reader] = {
    reader.name: reader for module in (zero_shot, captured, rendered, folders, omnidc) for reader in module.READERS
}

__all__ = ["READERS", "Dataset", "Frame", "Reader", "Sample", "open_dataset"]


def open_dataset(
    name: str, root: str | Path, split: str | Path | None = None, limit: int | None = None, crop: str | None = None
) -> Dataset:
    """Find a data set's frames; nothing is decoded yet.

    Args:
        name: Key of :data:`READERS`.
        root: Folder or tar archive.
        split: A list of frames to use, in the form of Marigold's ``data_split`` files; ``None`` uses all there are.
        limit: Use only the first so many.
        crop: Key of :data:`leadline.evaluation.protocols.CROPS` instead of the data set's (Marigold's
            ``valid_mask_crop``).

    Raises:
        InputError: Unknown name or crop, no such root, or nothing in the expected layout.
    """
    if name not in READERS:
        raise InputError(f"there is no data set {name!r}; there are: {', '.join(READERS)}")
    if crop is not None and crop not in CROPS:
        raise InputError(f"there is no crop {crop!r}; there are: {', '.join(CROPS)}")
    reader, store = READERS[name], open_store(root)
    if crop is not None:
        reader = replace(reader, rules=replace(reader.rules, crop=crop))
    frames = list(reader.index(store))
    if split is not None:
        try:
            listing = Path(split).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the split list {split} cannot be read ({error})") from error
        frames = apply_split(frames, listing, str(split), set(store.paths()))
    if not frames:
        raise InputError(f"nothing under {root} looks like {reader.title}; expected {reader.layout}")
    kept = [frame for frame in frames if not frame.without_truth]
    if not kept:
        raise InputError(f"none of the {len(frames)} images of {reader.title} under {root} has ground truth")
    asked = tuple(kept[:limit])
    return Dataset(reader, store, asked, len(frames) - len(kept), len(kept) - len(asked))
