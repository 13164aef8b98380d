"""Readers for the data sets of the depth literature, each in its published layout."""

from __future__ import annotations

from pathlib import Path

from leadline.errors import InputError
from leadline.evaluation.datasets import captured, folders, rendered, zero_shot
from leadline.evaluation.datasets.base import Dataset, Frame, Reader, Sample, apply_split
from leadline.evaluation.datasets.store import open_store

READERS: dict[str, Reader] = {
    reader.name: reader for module in (zero_shot, captured, rendered, folders) for reader in module.READERS
}

__all__ = ["READERS", "Dataset", "Frame", "Reader", "Sample", "open_dataset"]


def open_dataset(name: str, root: str | Path, split: str | Path | None = None, limit: int | None = None) -> Dataset:
    """Find a data set's frames; nothing is decoded yet.

    Args:
        name: Key of :data:`READERS`.
        root: Folder or tar archive.
        split: A list of frames to use, in the form of Marigold's ``data_split`` files; ``None`` uses all there are.
        limit: Use only the first so many.

    Raises:
        InputError: Unknown name, no such root, or nothing in the expected layout.
    """
    if name not in READERS:
        raise InputError(f"there is no data set {name!r}; there are: {', '.join(READERS)}")
    reader, store = READERS[name], open_store(root)
    frames = list(reader.index(store))
    if split is not None:
        try:
            listing = Path(split).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the split list {split} cannot be read ({error})") from error
        frames = apply_split(frames, listing, str(split))
    if not frames:
        raise InputError(f"nothing under {root} looks like {reader.title}; expected {reader.layout}")
    return Dataset(reader, store, tuple(frames[:limit]))
