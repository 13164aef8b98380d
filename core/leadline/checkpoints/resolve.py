"""From what the user says to a model: a name in the catalog, one of their own imports, or a path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.cache import model_path
from leadline.checkpoints.catalog import CATALOG, MINI_FOLDER, entry
from leadline.checkpoints.native import load_model
from leadline.checkpoints.official import load_depthfm, load_folder, looks_official
from leadline.errors import CheckpointError, InputError


def resolve(name_or_path: str | Path, vae: str | Path | None = None, **settings: Any) -> ModelBundle:
    """The model that ``name_or_path`` means; see :func:`leadline.load`.

    Raises:
        CheckpointError: It is nowhere, damaged, or not a model.
    """
    path = Path(name_or_path)
    if path.exists():
        return load_from_disk(path, vae, **settings)
    return load_model(locate(str(name_or_path)), **settings)


def load_from_disk(path: Path, vae: str | Path | None = None, **settings: Any) -> ModelBundle:
    """A Leadline file or an official checkpoint.

    Raises:
        CheckpointError: It is neither, or damaged.
    """
    if path.is_dir():
        if looks_official(path):
            return load_folder(path, Path(vae) if vae else None, **settings)
        raise CheckpointError(
            f"{path} holds no checkpoint (no unet/config.json in it); give a diffusers folder or a file"
        )
    if path.suffix == ".safetensors":
        return load_model(path, **settings)
    if looks_official(path):
        if vae is None:
            raise CheckpointError(
                f"{path.name} comes without its VAE; give the folder of Stable Diffusion 1.5's VAE with vae= (--vae)"
            )
        return load_depthfm(path, Path(vae), **settings)
    raise CheckpointError(f"{path} is no checkpoint that Leadline knows (.safetensors, .ckpt or a diffusers folder)")


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
    from leadline.checkpoints.cache import cached_models  # noqa: PLC0415

    return found | {path.stem: path for path in cached_models() if path.stem not in found}
