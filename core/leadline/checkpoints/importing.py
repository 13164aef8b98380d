"""Turning an official checkpoint into a model of ours, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from leadline.checkpoints.cache import model_path
from leadline.checkpoints.native import save_model
from leadline.checkpoints.resolve import load_from_disk


def import_checkpoint(
    source: Path,
    name: str,
    vae: Path | None = None,
    half: bool = False,
    family: str | None = None,
    licence: str = "",
    **settings: Any,
) -> Path:
    """Read an official checkpoint and keep it under ``name``; returns the file written.

    Args:
        source: A ``.ckpt`` or a diffusers folder.
        name: What to call it: `--model NAME` from then on.
        vae: Folder of the VAE, where the checkpoint has none.
        half: Store 16-bit floats (half the size, not exact) instead of the exact 32-bit ones.
        family: Needed for folders that do not say which model they are.
        licence: Recorded with the weights.
        **settings: Other changes to the model's description (``space=``, ``token_count_scaling=`` ...).

    Raises:
        CheckpointError: The source is damaged or something else.
    """
    target = model_path(name)
    if family is not None and source.is_dir():
        settings["family"] = family
    bundle = load_from_disk(source, vae, **settings)
    bundle.model.spec = replace(bundle.spec, name=name, licence=licence)
    save_model(bundle, target, torch.float16 if half else torch.float32)
    return target
