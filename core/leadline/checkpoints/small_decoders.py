"""Files of small decoders: safetensors whose header says the shape and the codec they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.errors import CheckpointError
from leadline.models import Codec
from leadline.models.small_decoder import SmallDecoder, SmallDecoderSpec, codec_fingerprint

_KEY = "leadline_small_decoder"
MINI_DECODER = MINI_FOLDER / "mini-small-decoder.safetensors"


def save_small_decoder(decoder: SmallDecoder, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write ``decoder``; loading always gives float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in decoder.state_dict().items()}
    save_file(tensors, path, metadata={_KEY: json.dumps({"codec": decoder.codec, **decoder.spec.as_dict()})})
    path.chmod(0o644)  # safetensors leaves files that only their owner reads


def load_small_decoder(path: Path) -> SmallDecoder:
    """The inverse of :func:`save_small_decoder`, frozen and in eval mode.

    Raises:
        CheckpointError: There is no such file, or it holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; check the path of the decoder") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({error}); fetch it again") from error
    if header is None:
        raise CheckpointError(f"{path} holds no small decoder; `leadline train small-decoder` makes one")
    decoder = SmallDecoder(SmallDecoderSpec(**{k: v for k, v in header.items() if k != "codec"}), header["codec"])
    decoder.load_state_dict(tensors)
    return decoder.eval().requires_grad_(False)


def small_decoder_for(codec: Codec, path: str | Path = "small") -> SmallDecoder:
    """The small decoder of a codec: a file, or for "small" the one that ships with the mini models.

    Raises:
        CheckpointError: It was distilled from another codec, or there is none.
    """
    shipped = str(path) == "small"
    decoder = load_small_decoder(MINI_DECODER if shipped else Path(path))
    if decoder.codec != codec_fingerprint(codec):
        if shipped:
            raise CheckpointError(
                "the small decoder that ships is for the mini models; distil one for this model's codec with "
                "`leadline train small-decoder` and give its file as decoder (--decoder FILE)"
            )
        raise CheckpointError(f"{path} was distilled from another codec than this model's; distil one for it")
    return decoder
