"""Which weights a name means, as a digest of their files. Imports no torch, so that finished work is recognised at once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leadline.checkpoints.cache import cache_folder
from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.checkpoints.header import read_header
from leadline.checkpoints.hub import snapshot
from leadline.checkpoints.layout import is_hub_id
from leadline.checkpoints.present import locate
from leadline.errors import CheckpointError, InputError, LeadlineError
from leadline.files.journal import identify
from leadline.files.whole import write_bytes

#: Larger files are not read again while they are untouched; what was read is noted in the cache.
_NOTED_BYTES = 64 << 20
_WEIGHT_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json"})


def weights_digest(
    name_or_path: str | Path,
    vae: str | Path | None = None,
    decoder: str | Path = "full",
    encoder: str | Path = "full",
) -> str:
    """16 hexadecimal digits that change with any file that the model is made from.

    Raises:
        CheckpointError: The weights are not on this computer, or cannot be read.
    """
    path, name = Path(name_or_path), str(name_or_path)
    whole = hashlib.blake2b(digest_size=8)
    parts = []
    if not path.exists() and is_hub_id(name):
        whole.update(f"{name} {snapshot(name).name}".encode())  # the hub's cache names folders by their commit
    else:
        parts.append(path if path.exists() else locate(name))
    if vae is not None:
        parts.append(Path(vae))
    for part, chosen in (("decoder", decoder), ("encoder", encoder)):
        if str(chosen) != "full":
            parts.append(MINI_FOLDER / f"mini-small-{part}.safetensors" if str(chosen) == "small" else Path(chosen))
    for file in [file for part in parts for file in _files(part)]:
        whole.update(_digest(file).encode())
    return whole.hexdigest()


def _files(path: Path) -> list[Path]:
    """The files of a checkpoint; a Leadline model may name others beside it."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in _WEIGHT_SUFFIXES and file.is_file())
    beside = [
        path.parent / Path(name).name
        for key, name in read_header(path).items()
        if key.startswith("leadline_") and key.endswith("_file")
    ]
    return [path, *(file for file in beside if file.is_file())]


def _digest(path: Path) -> str:
    try:
        if path.stat().st_size < _NOTED_BYTES:
            return identify(path).digest
        notes_path = cache_folder() / "digests.json"
        notes: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            notes = json.loads(notes_path.read_text(encoding="utf-8"))
        source = identify(path, notes.get(str(path.resolve())))
        if source.settled:
            note = {**asdict(source), "stamp": list(source.stamp)}
            if notes.get(source.path) != note:
                with contextlib.suppress(LeadlineError):  # without a place for notes it is read every time
                    write_bytes(notes_path, json.dumps({**notes, source.path: note}).encode())
        return source.digest
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); check the path") from error
    except InputError as error:
        raise CheckpointError(str(error)) from error
