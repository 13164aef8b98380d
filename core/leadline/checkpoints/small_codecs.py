"""Files of small decoders and encoders: safetensors whose header says the shape and the codec they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.errors import CheckpointError
from leadline.models import Codec
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec
from leadline.models.small_encoder import SmallEncoder, SmallEncoderSpec

_HEADER = "leadline_small_{}"
MINI_DECODER = MINI_FOLDER / "mini-small-decoder.safetensors"
MINI_ENCODER = MINI_FOLDER / "mini-small-encoder.safetensors"
_Small = TypeVar("_Small", SmallDecoder, SmallEncoder)


def save_small_decoder(decoder: SmallDecoder, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write ``decoder``; loading always gives float32."""
    _save(decoder, path, dtype, "decoder")


def save_small_encoder(encoder: SmallEncoder, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write ``encoder``; loading always gives float32."""
    _save(encoder, path, dtype, "encoder")


def load_small_decoder(path: Path) -> SmallDecoder:
    """The inverse of :func:`save_small_decoder`, frozen and in eval mode.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    shape, codec, tensors = _read(path, "decoder")
    decoder = SmallDecoder(SmallDecoderSpec(**shape), codec)
    decoder.load_state_dict(tensors)
    return decoder.eval().requires_grad_(False)


def load_small_encoder(path: Path) -> SmallEncoder:
    """The inverse of :func:`save_small_encoder`, frozen and in eval mode.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    shape, codec, tensors = _read(path, "encoder")
    encoder = SmallEncoder(SmallEncoderSpec(**shape), codec)
    encoder.load_state_dict(tensors)
    return encoder.eval().requires_grad_(False)


def small_decoder_for(codec: Codec, path: str | Path = "small") -> SmallDecoder:
    """The small decoder of a codec: a file, or for "small" the one that ships with the mini models.

    Raises:
        CheckpointError: It was distilled from another codec, or there is none.
    """
    return _of_this_codec(
        load_small_decoder(MINI_DECODER if str(path) == "small" else Path(path)), codec, path, "decoder"
    )


def small_encoder_for(codec: Codec, path: str | Path = "small") -> SmallEncoder:
    """The small encoder of a codec: a file, or for "small" the one that ships with the mini models.

    Raises:
        CheckpointError: It was distilled from another codec, or there is none.
    """
    return _of_this_codec(
        load_small_encoder(MINI_ENCODER if str(path) == "small" else Path(path)), codec, path, "encoder"
    )


def _of_this_codec(network: _Small, codec: Codec, path: str | Path, part: str) -> _Small:
    if network.codec != codec.fingerprint:
        if str(path) == "small":
            raise CheckpointError(
                f"the small {part} that ships is for the mini models; distil one for this model's codec with "
                f"`leadline train small-{part}` and give its file as {part}"
            )
        raise CheckpointError(f"{path} was distilled from another codec than this model's; distil one for it")
    return network


def _save(network: SmallDecoder | SmallEncoder, path: Path, dtype: torch.dtype, part: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    shape = json.dumps({"codec": network.codec, **network.spec.as_dict()})
    save_file(tensors, path, metadata={_HEADER.format(part): shape})
    path.chmod(0o644)  # safetensors leaves files that only their owner reads


def _read(path: Path, part: str) -> tuple[dict[str, int], str, dict[str, Any]]:
    """Shape, fingerprint of the codec, and float32 tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER.format(part), "null"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; check the path of the {part}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); fetch it again") from error
    if header is None:
        raise CheckpointError(f"{path} holds no small {part}; `leadline train small-{part}` makes one")
    return header, header.pop("codec"), tensors
