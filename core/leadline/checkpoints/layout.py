"""Names of the files in published folders, and of repositories. Imports no torch."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

#: Stems of weight files: diffusers' models, and transformers' text encoders.
DIFFUSERS_STEM = "diffusion_pytorch_model"
TRANSFORMERS_STEMS = ("model", "pytorch_model")

_FILE_SUFFIXES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth", ".onnx")
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


def weight_names(stems: tuple[str, ...] = (DIFFUSERS_STEM,)) -> list[str]:
    """Names under which weights, or the index of their shards, are looked for; the most exact one first.

    Full precision comes before float16 variants, safetensors before pickles. Files of other names are never looked at.
    """
    return [
        name
        for variant in ("", ".fp16")
        for suffix in (".safetensors", ".bin")
        for stem in stems
        for name in (
            f"{stem}{variant}{suffix}",
            f"{stem}{suffix}.index{variant}.json",
            f"{stem}{variant}{suffix}.index.json",
        )
    ]


def is_hub_id(name: str) -> bool:
    """Whether ``name`` has the form of a repository's id, "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None and PurePosixPath(name).suffix not in _FILE_SUFFIXES
