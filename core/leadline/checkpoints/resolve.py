"""From what the user says to a model: a name in the catalog, one of their own imports, or a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.native import load_model
from leadline.checkpoints.official import load_depthfm, load_folder, looks_official
from leadline.checkpoints.present import available, locate
from leadline.errors import CheckpointError

__all__ = ["available", "load_from_disk", "locate", "resolve"]


def resolve(
    name_or_path: str | Path, vae: str | Path | None = None, base: str | Path | None = None, **settings: Any
) -> ModelBundle:
    """The model that ``name_or_path`` means; see :func:`leadline.load`.

    Raises:
        CheckpointError: It is nowhere, damaged, or not a model.
    """
    path = Path(name_or_path)
    if path.exists():
        return load_from_disk(path, vae, base, **settings)
    return load_model(locate(str(name_or_path)), **settings)


def load_from_disk(
    path: Path, vae: str | Path | None = None, base: str | Path | None = None, **settings: Any
) -> ModelBundle:
    """A Leadline file or an official checkpoint; the further settings of folders are those of :func:`load_folder`.

    Raises:
        CheckpointError: It is neither, or damaged.
    """
    if path.is_dir():
        if looks_official(path):
            return load_folder(path, Path(vae) if vae else None, Path(base) if base else None, **settings)
        raise CheckpointError(f"{path} holds no checkpoint (no unet folder in it); give a diffusers folder or a file")
    if path.suffix == ".safetensors":
        return load_model(path, **settings)
    if looks_official(path):
        if vae is None:
            raise CheckpointError(
                f"{path.name} comes without its VAE; give the folder of Stable Diffusion 1.5's VAE with vae= (--vae)"
            )
        return load_depthfm(path, Path(vae), **settings)
    raise CheckpointError(f"{path} is no checkpoint that Leadline knows (.safetensors, .ckpt or a diffusers folder)")
