"""Where imported and pulled models live on this computer."""

from __future__ import annotations

import os
import re
from pathlib import Path

from leadline.errors import InputError


def cache_folder() -> Path:
    """``LEADLINE_HOME``, else ``leadline`` beside the hub's cache (``HF_HOME``), else under the user's cache folder."""
    if "LEADLINE_HOME" in os.environ:
        return Path(os.environ["LEADLINE_HOME"]).expanduser()
    if "HF_HOME" in os.environ:
        return Path(os.environ["HF_HOME"]).expanduser() / "leadline"
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "leadline"


def model_path(name: str) -> Path:
    """Where the model called ``name`` is kept once it is imported or pulled.

    Raises:
        InputError: The name cannot be a file name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise InputError(f"'{name}' cannot be a model's name; use letters, digits, dot, dash and underscore")
    return cache_folder() / "models" / f"{name}.safetensors"


def cached_models() -> list[Path]:
    """Model files in the cache, by name."""
    return sorted((cache_folder() / "models").glob("*.safetensors"))
