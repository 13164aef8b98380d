"""The official formats, turned into ours.

* DepthFM: one pickled ``.ckpt`` with ``state_dict`` (latent-diffusion names), ``ldm_hparams``, ``noising_step`` and
  ``empty_text_embedding``; the VAE comes separately.
* DepthMaster, FiffDepth: diffusers folders (``unet``, ``vae``, ``text_encoder``, ``tokenizer``), tensors in
  ``.safetensors`` or ``.bin``; DepthMaster's UNet carries extra ``fftblock.*`` tensors.

Pickles are read with ``weights_only=True``: no code in them runs.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle, build_empty, fill
from leadline.checkpoints.native import fill_unet
from leadline.checkpoints.vae_names import modern_names
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError
from leadline.models import ModelSpec

_TENSOR_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
    "pytorch_model.bin",
)

#: Keys of a UNet config that say how it was stored rather than what it is.
_STORAGE_KEYS = frozenset({"_class_name", "_diffusers_version", "_name_or_path"})

#: Official pipelines by the class named in model_index.json.
_PIPELINE_FAMILIES = {"DepthMasterPipeline": "depthmaster", "DirectPipeline": "fiffdepth"}


def load_depthfm(path: Path, vae: Path, **settings: Any) -> ModelBundle:
    """An official DepthFM ``.ckpt`` with the VAE in folder ``vae``.

    Raises:
        CheckpointError: Damaged, or not DepthFM's.
    """
    raw = _read_pickle(path)
    missing = {"state_dict", "ldm_hparams", "empty_text_embedding"} - set(raw)
    if missing:
        raise CheckpointError(
            f"{path} is not a DepthFM checkpoint ({', '.join(sorted(missing))} missing in it); check the file"
        )
    config = ldm_unet_config(raw["ldm_hparams"])
    # diffusers' converter finds the network by this prefix and returns nothing without it
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in raw["state_dict"].items()}
    try:
        tensors = convert_ldm_unet_checkpoint(prefixed, config=dict(config))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path} has weights that do not fit its own description ({error}); fetch it again"
        ) from error
    prompt = torch.as_tensor(raw["empty_text_embedding"]).float()
    codec_config, codec_tensors = _read_part(vae)
    spec = ModelSpec(
        "depthfm",
        Space.LOG_DEPTH,
        config,
        codec_config,
        default_steps=2,
        pad_multiple=64,
        noising_step=int(raw.get("noising_step", 0)),
        name=path.stem,
        source=str(path.name),
    )
    return _assemble(spec.changed(**settings), prompt.reshape(1, *prompt.shape[-2:]), tensors, codec_tensors, path)


def ldm_unet_config(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The diffusers config of the UNet that ``ldm_hparams`` describes; it follows the checkpoint, not a stock model."""
    try:
        channels = [hparams["model_channels"] * factor for factor in hparams["channel_mult"]]
        attends = [2**level in hparams["attention_resolutions"] for level in range(len(channels))]
        per_head = hparams.get("num_head_channels", -1)
        heads = hparams["num_heads"] if per_head in (-1, None) else [width // per_head for width in channels]
        return {
            "in_channels": hparams["in_channels"],
            "out_channels": hparams["out_channels"],
            "block_out_channels": channels,
            "layers_per_block": hparams["num_res_blocks"],
            "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attends],
            "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)],
            "attention_head_dim": heads,  # diffusers' name for the number of heads
            "use_linear_projection": hparams.get("use_linear_in_transformer", False),
            "transformer_layers_per_block": hparams.get("transformer_depth", 1),
            "cross_attention_dim": hparams["context_dim"],
            "norm_num_groups": 32,
            "norm_eps": 1e-5,
            "flip_sin_to_cos": True,
            "freq_shift": 0,
        }
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint's ldm_hparams lack {error}; is it a DepthFM checkpoint?") from error


def load_folder(folder: Path, vae: Path | None = None, **settings: Any) -> ModelBundle:
    """A DepthMaster or FiffDepth diffusers folder.

    The family is read from ``model_index.json``, or from the ``fftblock.*`` tensors, or given as ``family=``.

    Raises:
        CheckpointError: A part is missing, damaged, or the family cannot be told.
    """
    config, tensors = _read_part(folder / "unet")
    codec_config, codec_tensors = _read_part(vae or folder / "vae")
    fourier = any(name.startswith("fftblock.") for name in tensors)
    family = settings.pop("family", None) or ("depthmaster" if fourier else _family_of(folder))
    spec = ModelSpec(
        family,
        Space.SQRT_DISPARITY if family == "depthmaster" else Space.DEPTH,
        {key: value for key, value in config.items() if key not in _STORAGE_KEYS},
        codec_config,
        fourier=fourier,
        default_size=int(_read_json(folder / "model_index.json").get("default_processing_resolution") or 768),
        name=folder.name,
        source=folder.name,
    )
    return _assemble(spec.changed(**settings), empty_prompt(folder), tensors, codec_tensors, folder)


def empty_prompt(folder: Path) -> Tensor:
    """The text encoder's output (1, T, D) for the empty prompt without padding: 2 tokens, begin and end.

    Computed once, at import; nothing needs the text encoder afterwards.
    """
    if not (folder / "text_encoder").is_dir() or not (folder / "tokenizer").is_dir():
        raise CheckpointError(f"{folder} has no text_encoder or tokenizer folder; both are needed once, at import")
    try:
        from transformers import CLIPTextModel, CLIPTokenizer  # noqa: PLC0415 (needed only at import of a checkpoint)
    except ImportError as error:
        raise CheckpointError(
            "importing this checkpoint needs transformers; run: pip install 'leadline[import]'"
        ) from error
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", weights_only=True).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"the text encoder in {folder} cannot be read ({_first_line(error)}); fetch it again"
        ) from error
    ids = tokenizer(
        "", padding="do_not_pad", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        embedding: Tensor = encoder(ids.input_ids)[0]
    return embedding.float().clone()


def looks_official(path: Path) -> bool:
    """Whether ``path`` has the outward form of an official checkpoint."""
    return (
        path.suffix in (".ckpt", ".pt", ".pth", ".bin") if path.is_file() else (path / "unet" / "config.json").exists()
    )


def _assemble(
    spec: ModelSpec, prompt: Tensor, tensors: Mapping[str, Tensor], codec_tensors: Mapping[str, Tensor], path: Path
) -> ModelBundle:
    try:
        bundle = build_empty(spec, prompt)
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, IndexError) as error:
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({_first_line(error)}); fetch it again"
        ) from error
    fill_unet(bundle, dict(tensors), f"network in {path}")
    fill(bundle.codec.vae, modern_names(codec_tensors), f"VAE of {path}")
    digest = hashlib.sha256()
    for part in (tensors, codec_tensors):
        for name in sorted(part):
            digest.update(name.encode() + part[name].contiguous().view(torch.uint8).numpy().tobytes())
    bundle.weights_hash = digest.hexdigest()
    return bundle


def _family_of(folder: Path) -> str:
    pipeline = _read_json(folder / "model_index.json").get("_class_name")
    if pipeline in _PIPELINE_FAMILIES:
        return _PIPELINE_FAMILIES[pipeline]
    raise CheckpointError(
        f"{folder} does not say which model it is (pipeline {pipeline}); give family='depthmaster' or 'fiffdepth' (--family)"
    )


def _read_part(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = _read_json(folder / "config.json")
    if not config:
        raise CheckpointError(
            f"{folder} has no readable config.json; it should be a diffusers folder (give the VAE with --vae)"
        )
    for name in _TENSOR_FILES:
        path = folder / name
        if not path.exists():
            continue
        if path.suffix == ".bin":
            return config, _read_pickle(path)
        try:
            return config, load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged ({_first_line(error)}); fetch it again") from error
    raise CheckpointError(f"{folder} has no weights in it (looked for {', '.join(_TENSOR_FILES[:2])}); fetch it again")


def _read_pickle(path: Path) -> dict[str, Any]:
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; check the path") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than weights ({_first_line(error)}); fetch it again"
        ) from error
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds no dictionary of weights; is it a checkpoint?")
    return raw


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
