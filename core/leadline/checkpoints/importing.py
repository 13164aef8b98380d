"""Turning an official checkpoint into a model of ours, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from leadline.checkpoints.cache import model_path
from leadline.checkpoints.catalog import CatalogEntry
from leadline.checkpoints.download import Fetched
from leadline.checkpoints.native import save_model
from leadline.checkpoints.resolve import load_from_disk


def import_checkpoint(
    source: Path,
    name: str,
    vae: Path | None = None,
    half: bool = False,
    base: Path | None = None,
    licence: str = "",
    **settings: Any,
) -> Path:
    """Read an official checkpoint and keep it under ``name``; returns the file written.

    Args:
        source: A ``.ckpt`` or a diffusers folder.
        name: What to call it: `--model NAME` from then on.
        vae: Folder of the VAE, where the checkpoint has none.
        half: Store 16-bit floats (half the size, not exact) instead of the exact 32-bit ones.
        base: Folder with what else the checkpoint lacks (text encoder and tokenizer, scheduler, VAE).
        licence: Recorded with the weights.
        **settings: Other settings of :func:`leadline.checkpoints.official.load_folder`, and changes to the model's
            description (``space=``, ``token_count_scaling=`` ...).

    Raises:
        CheckpointError: The source is damaged or something else.
    """
    target = model_path(name)
    bundle = load_from_disk(source, vae, base, **settings)
    bundle.model.spec = replace(bundle.spec, name=name, licence=licence)
    save_model(bundle, target, torch.float16 if half else torch.float32)
    return target


def import_entry(entry: CatalogEntry, fetched: Fetched, half: bool = False) -> Path:
    """Import what was fetched for a catalog entry, as what the catalog says it is; returns the file written.

    Raises:
        CheckpointError: It is damaged or something else.
    """
    settings: dict[str, Any] = {}
    if fetched.checkpoint.is_dir():
        settings = {"family": entry.family, "output": entry.output, "space": entry.space, "network": entry.network}
        settings["hint"] = entry.hub_repo or entry.name
    return import_checkpoint(fetched.checkpoint, entry.name, fetched.vae, half, fetched.base, entry.licence, **settings)
