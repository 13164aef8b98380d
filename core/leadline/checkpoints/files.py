"""Tensors from the files of a published folder: safetensors or pickles, whole or sharded, any precision.

Safetensors are mapped, not read: a tensor costs memory when its pages are touched. Pickles are read with ``weights_only=True``: no
code in them runs.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from leadline.checkpoints.layout import DIFFUSERS_STEM, weight_names
from leadline.errors import CheckpointError, first_line

_CONFIGS = ("config.json", "unet_config.json")


def weight_file(folder: Path, stems: tuple[str, ...] = (DIFFUSERS_STEM,)) -> Path | None:
    """The file, or the index of the shards, with a part's weights; None where there is none."""
    return next((folder / name for name in weight_names(stems) if (folder / name).is_file()), None)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a weight file, or of all shards that an index names.

    Raises:
        CheckpointError: A file is missing, damaged, or holds more than weights.
    """
    if path.suffix != ".json":
        return read_tensors(path)
    shards = read_json(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise CheckpointError(f"{path} names no shards (no weight_map in it); fetch it again")
    names = sorted({str(name) for name in shards.values()})
    if any(Path(name).name != name for name in names):
        raise CheckpointError(f"{path} names a shard outside its folder; fetch it from the authors again")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_tensors(path.parent / name)
    lost = sorted(set(shards) - set(tensors))
    if lost:
        raise CheckpointError(f"the shards of {path.name} lack {len(lost)} tensors ({lost[0]}); fetch them again")
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of one ``.safetensors`` or pickled file.

    Raises:
        CheckpointError: It is missing, damaged, or holds more than weights.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; fetch it again")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({first_line(error)}); fetch it again") from error
    raw = read_pickle(path)
    if not all(isinstance(tensor, Tensor) for tensor in raw.values()):
        raise CheckpointError(f"{path} holds more than tensors; is it the weight file of a folder?")
    return raw


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary of weights.

    Raises:
        CheckpointError: It is missing, damaged, or holds more than weights.
    """
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; check the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than weights ({first_line(error)}); fetch it again"
        ) from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no dictionary of weights; is it a checkpoint?")
    return raw


def read_part(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a ``unet`` or ``vae`` folder.

    Raises:
        CheckpointError: One of them is missing or damaged.
    """
    config = part_config(folder)
    path = weight_file(folder)
    if path is None:
        raise CheckpointError(
            f"{folder} has no weights in it (looked for {DIFFUSERS_STEM}.safetensors or .bin); fetch it again"
        )
    return config, read_weights(path)


def part_config(folder: Path) -> dict[str, Any]:
    """Configuration of a ``unet`` or ``vae`` folder.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    for name in _CONFIGS:
        if (folder / name).is_file():
            config = read_json(folder / name)
            if config:
                return config
            raise CheckpointError(f"{folder / name} cannot be read as JSON; fetch it again")
    raise CheckpointError(
        f"{folder} has no readable config.json; it should be a diffusers folder (give the VAE with --vae)"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_finite(tensors: dict[str, Tensor], what: str) -> None:
    """
    Raises:
        CheckpointError: A tensor holds NaN or infinity.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor.sum(dtype=torch.float32))):
            if bool(torch.isfinite(tensor).all()):
                continue  # a sum beyond float32
            raise CheckpointError(f"the {what} holds NaN or infinity (in {name}); fetch it again")
