"""The description at the head of a safetensors file, without torch and without reading weights."""

from __future__ import annotations

import json
from pathlib import Path

from leadline.models.spec import ModelSpec

SPEC_KEY = "leadline_model"
_MOST_BYTES = 100 << 20  # what the format allows


def read_header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; {} for any other file."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            found = json.loads(file.read(size)) if size <= _MOST_BYTES else {}
    except (OSError, ValueError):
        return {}
    metadata = found.get("__metadata__") if isinstance(found, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def read_spec(path: Path) -> ModelSpec | None:
    """The description in a model file's header; None if it is not a Leadline model.

    Raises:
        CheckpointError: The description cannot be read.
    """
    header = read_header(path)
    return ModelSpec.from_json(header[SPEC_KEY]) if SPEC_KEY in header else None
