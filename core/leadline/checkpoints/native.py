"""Leadline's own format: safetensors files whose header carries the model's description.

A model is one file with tensors ``unet.*`` (diffusers' names, plus ``fftblock.*``), ``prompt`` and ``codec.*``
(diffusers' ``AutoencoderKL`` names, and ``small_decoder.*`` in the place of a decoder). Several models may share a codec: then the header names the codec's file, which lies in the
same folder. A model that was trained from another in part only may share the rest: then the header names the other
model's file, and tensors of the network that are the same there are not stored again. Files may be packed
(:mod:`leadline.checkpoints.packing`), as those that ship are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from leadline.checkpoints import packing
from leadline.checkpoints.bundle import ModelBundle, build_empty, fill
from leadline.checkpoints.header import SPEC_KEY, read_header
from leadline.errors import CheckpointError, LeadlineError, first_line
from leadline.files.whole import whole_file
from leadline.models import ModelSpec

_CODEC_FILE_KEY = "leadline_codec_file"
_BASE_FILE_KEY = "leadline_base_file"
_BASE_HASH_KEY = "leadline_base_hash"
_CONTENT_KEY = "leadline_content"
_NETWORK = "unet."
_SMALL = "small_decoder."


def unet_state(bundle: ModelBundle) -> dict[str, Tensor]:
    """The network's tensors by their published names: diffusers' own, and ``fftblock.*``."""
    return {name.removeprefix("net."): tensor for name, tensor in bundle.model.unet.state_dict().items()}


def codec_state(bundle: ModelBundle) -> dict[str, Tensor]:
    """The codec's tensors by their published names: diffusers' own, and ``small_decoder.*``."""
    return {name.removeprefix("vae."): tensor for name, tensor in bundle.codec.state_dict().items()}


def fill_unet(bundle: ModelBundle, tensors: dict[str, Tensor], what: str) -> None:
    """The inverse of :func:`unet_state`."""
    named = {name if name.startswith("fftblock.") else f"net.{name}": tensor for name, tensor in tensors.items()}
    fill(bundle.model.unet, named, what)


def save_codec(bundle: ModelBundle, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write the codec alone, for models that share it."""
    tensors = {f"codec.{k}": _as_stored(v, dtype, None) for k, v in codec_state(bundle).items()}
    _save(tensors, path, {})


def save_model(
    bundle: ModelBundle,
    path: Path,
    dtype: torch.dtype = torch.float16,
    codec_file: str | None = None,
    base_file: str | None = None,
    mantissa_bits: int | None = None,
) -> None:
    """Write a model.

    Args:
        bundle: What to write.
        path: A ``.safetensors`` file; its folder is made.
        dtype: Stored precision; loading always gives float32.
        codec_file: Name of a codec in the same folder to share; None stores the codec inside.
        base_file: Name of a model in the same folder whose tensors, where equal as stored, are not stored again.
        mantissa_bits: Pack it (:mod:`leadline.checkpoints.packing`), with so many of float16's 10 mantissa bits; ``dtype`` has
            no meaning then. None: unpacked.

    Raises:
        CheckpointError: It cannot be written, or the base cannot be read.
    """
    tensors = {f"{_NETWORK}{k}": v for k, v in unet_state(bundle).items()}
    tensors["prompt"] = bundle.model.prompt
    header = {SPEC_KEY: bundle.spec.to_json()}
    if codec_file is None:
        tensors |= {f"codec.{k}": v for k, v in codec_state(bundle).items()}
    else:
        header[_CODEC_FILE_KEY] = codec_file
    stored = {name: _as_stored(tensor, dtype, mantissa_bits) for name, tensor in tensors.items()}
    if base_file is not None:
        base = _network(_read(path.parent / base_file)[1])
        if all(name in stored for name in base):  # what a reader would take from it must be the model's
            header |= {_BASE_FILE_KEY: base_file, _BASE_HASH_KEY: content_hash(path.parent / base_file)}
            shared = {name for name, tensor in base.items() if torch.equal(tensor, stored[name])}
            stored = {name: tensor for name, tensor in stored.items() if name not in shared}
    if mantissa_bits is not None:
        stored, header[packing.HEADER_KEY] = packing.pack(stored)
    header[_CONTENT_KEY] = _digest_of(header, stored)
    _save(stored, path, header)


def load_model(path: Path, **settings: Any) -> ModelBundle:
    """Read a model that :func:`save_model` wrote, with ``settings`` of its spec changed.

    Raises:
        CheckpointError: Not a Leadline model, damaged, or its shared codec is missing.
    """
    header, tensors = _read(path)
    if SPEC_KEY not in header:
        raise CheckpointError(
            f"{path} is not a Leadline model (no description in it); import it with `leadline import`"
        )
    spec = ModelSpec.from_json(header[SPEC_KEY]).changed(**settings)
    codec = {k.removeprefix("codec."): v for k, v in tensors.items() if k.startswith("codec.")}
    digests = [content_hash(path)]
    if _CODEC_FILE_KEY in header:
        codec_path = _beside(path, header[_CODEC_FILE_KEY], "codec")
        codec = {k.removeprefix("codec."): v for k, v in _read(codec_path)[1].items()}
        digests.append(content_hash(codec_path))
    if _BASE_FILE_KEY in header:
        base_path = _beside(path, header[_BASE_FILE_KEY], "model")
        tensors = {**_network(_read(base_path)[1]), **tensors}
        digests.append(content_hash(base_path))
        if digests[-1] != header.get(_BASE_HASH_KEY):
            raise CheckpointError(
                f"{path.name} shares tensors with another {base_path.name} than the one beside it; copy both from one place"
            )
    if "prompt" not in tensors:
        raise CheckpointError(f"{path} has no prompt embedding in it; import it again")
    bundle = build_empty(spec, tensors["prompt"].to(torch.float32, copy=True))
    fill_unet(
        bundle,
        {k.removeprefix(_NETWORK): v for k, v in _network(tensors).items()},
        f"network in {path.name}",
    )
    named = {name if name.startswith(_SMALL) else f"vae.{name}": tensor for name, tensor in codec.items()}
    fill(bundle.codec, named, f"codec of {path.name}")
    bundle.weights_hash = hashlib.sha256("".join(digests).encode()).hexdigest()
    return bundle


def _network(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}


def _beside(path: Path, name: str, what: str) -> Path:
    """The file ``name`` in the folder of ``path``; a header cannot lead out of it."""
    shared = path.parent / Path(name).name
    if not shared.exists():
        raise CheckpointError(f"{path.name} shares the {what} {shared.name}, which is not beside it; copy it there")
    return shared


def content_hash(path: Path) -> str:
    """What the weights in a file are, hexadecimal: noted in it when it was written, else the SHA-256 of the file."""
    return read_header(path).get(_CONTENT_KEY) or file_hash(path)


def _digest_of(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a description and of tensors, by name."""
    digest = hashlib.sha256(json.dumps(dict(header), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read())
        )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; check the path") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); fetch or import it again") from error
    if packing.HEADER_KEY in header:
        tensors = packing.unpack(tensors, header[packing.HEADER_KEY])
    return header, tensors


def _as_stored(tensor: Tensor, dtype: torch.dtype, mantissa_bits: int | None) -> Tensor:
    stored = tensor.detach().to("cpu", dtype) if mantissa_bits is None else packing.rounded(tensor, mantissa_bits)
    return stored.contiguous()


def _save(stored: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        with whole_file(path) as unfinished:
            save_file(stored, unfinished.path, metadata=header)
    except LeadlineError as error:
        raise CheckpointError(str(error)) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} cannot be written ({first_line(error)}); choose another folder") from error
