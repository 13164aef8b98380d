"""Which weights are on this computer, and where. Imports no torch, so that the server's front and its tools can ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from leadline.checkpoints.cache import cached_models, model_path
from leadline.checkpoints.catalog import CATALOG, MINI_FOLDER, entry
from leadline.errors import CheckpointError, InputError


def locate(name: str) -> Path:
    """The weight file of a model by name.

    Raises:
        CheckpointError: The name is unknown, or its weights are not on this computer.
    """
    known = CATALOG.get(name)
    if known is not None and known.packaged is not None:
        packaged = MINI_FOLDER / known.packaged
        if packaged.exists():
            return packaged
        raise CheckpointError(f"the packaged weights of {name} are missing; install Leadline again")
    try:
        cached = model_path(name)
    except InputError as error:
        raise CheckpointError(f"there is no model or file '{name}'; check the path") from error
    if cached.exists():
        return cached
    if known is None:
        entry(name)
    assert known is not None
    advice = f"run: leadline pull {name}" if known.downloadable else known.how_to_get
    raise CheckpointError(f"the weights of {name} are not on this computer; {advice}")


def available() -> Mapping[str, Path]:
    """Names whose weights are on this computer, with their files."""
    found = {}
    for name in CATALOG:
        try:
            found[name] = locate(name)
        except CheckpointError:
            continue
    return found | {path.stem: path for path in cached_models() if path.stem not in found}
