"""From what the user says to a model: a name in the catalog, one of their own imports, or a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.catalog import CATALOG
from leadline.checkpoints.hub import EVERYTHING, first_snapshot, snapshot
from leadline.checkpoints.layout import is_hub_id
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
    name = str(name_or_path)
    if is_hub_id(name):
        return load_from_hub(name, vae, base, **settings)
    return load_model(locate(name), **settings)


def load_from_hub(
    repo: str,
    vae: str | Path | None = None,
    base: str | Path | None = None,
    revision: str | None = None,
    **settings: Any,
) -> ModelBundle:
    """A published folder by its hub id; only the files that are needed are fetched, into the hub's own cache.

    Args:
        repo: "owner/name".
        vae, base: Folders on disk, or hub ids, with what the repository lacks.
        revision: Branch, tag or commit.
        **settings: As for :func:`leadline.checkpoints.official.load_folder`. What the catalog knows of the repository need not
            be said.

    Raises:
        CheckpointError: It cannot be fetched, is damaged, or not a model.
    """
    known = next((entry for entry in CATALOG.values() if entry.hub_repo == repo), None)
    if known is not None:
        settings = {
            "family": known.family,
            "output": known.output,
            "space": known.space,
            "network": known.network,
        } | settings
    folder = snapshot(repo, revision, settings.get("network"))
    if base is None and known is not None and known.base_repos:
        base = first_snapshot(known.base_repos, ("text_encoder", "tokenizer"))
    parts = {"vae": ("vae",), "base": tuple(part for part in EVERYTHING if part != "network")}
    others = {
        name: snapshot(str(place), parts=parts[name]) if _only_on_hub(place) else place
        for name, place in (("vae", vae), ("base", base))
    }
    settings.setdefault("hint", repo)
    return load_from_disk(folder, others["vae"], others["base"], **settings)


def _only_on_hub(place: str | Path | None) -> bool:
    return isinstance(place, str) and is_hub_id(place) and not Path(place).exists()


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
