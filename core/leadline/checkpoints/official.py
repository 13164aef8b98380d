"""Published checkpoints of every family, turned into ours.

* DepthFM: one pickled ``.ckpt`` (:mod:`leadline.checkpoints.ldm`); the VAE comes separately.
* Everything else: diffusers folders (``unet``, ``vae``, ``scheduler``, ``text_encoder``, ``tokenizer``), whole or in part; what
  a folder lacks may come from another one, the ``base``. No code in a folder is ever run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle, build_empty, fill
from leadline.checkpoints.files import check_finite, part_config, read_json, read_part
from leadline.checkpoints.identify import Evidence, check_configs, identify, identify_output, schedule_of
from leadline.checkpoints.ldm import read_ldm
from leadline.checkpoints.native import fill_unet
from leadline.checkpoints.prompt import empty_prompt
from leadline.checkpoints.vae_names import modern_names
from leadline.errors import CheckpointError, first_line
from leadline.models.families import DEPTHFM, LOTUS_D, LOTUS_G, MARIGOLD, Family, Sampler
from leadline.models.spec import SD_LATENT_SCALE, ModelSpec

#: Keys of a UNet config that say how it was stored rather than what it is.
_STORAGE_KEYS = frozenset({"_class_name", "_diffusers_version", "_name_or_path"})

#: Families whose own code takes the latent scale from the VAE's configuration; the others have it written in.
_SCALED_BY_CONFIG = (MARIGOLD, LOTUS_D, LOTUS_G)


def load_depthfm(path: Path, vae: Path, **settings: Any) -> ModelBundle:
    """An official DepthFM ``.ckpt`` with the VAE in folder ``vae``.

    Raises:
        CheckpointError: Damaged, or not DepthFM's.
    """
    if settings.pop("family", DEPTHFM.name) != DEPTHFM.name:
        raise CheckpointError(f"{path} is a {DEPTHFM.name} checkpoint; leave family= (--family) out")
    config, tensors, prompt, noising_step = read_ldm(path)
    codec_config, codec_tensors = read_part(_vae_folder(vae))
    spec = ModelSpec(
        DEPTHFM.name,
        DEPTHFM.space,
        config,
        codec_config,
        default_steps=2,
        pad_multiple=64,
        noising_step=noising_step,
        name=path.stem,
        source=str(path.name),
    )
    return _assemble(spec.changed(**settings), prompt, tensors, codec_tensors, path)


def load_folder(
    folder: Path,
    vae: Path | None = None,
    base: Path | None = None,
    hint: str = "",
    family: str | None = None,
    output: str | None = None,
    space: Any = None,
    network: str | None = None,
    prompt: Tensor | None = None,
    **settings: Any,
) -> ModelBundle:
    """A diffusers folder of any family, or a network alone with a ``base`` for the rest.

    Args:
        folder: With a ``unet`` (or one ``unet_*``) folder in it, or a network's own folder.
        vae: Folder of the VAE, instead of the folder's own.
        base: Folder with what is missing in the first one: VAE, text encoder and tokenizer, scheduler.
        hint: A name that tells what the folder is, such as its id on a hub; its own name tells, too.
        family, output, space: What it is, where no file says so: see :mod:`leadline.checkpoints.identify`.
        network: Name of the network's folder, where there are several.
        prompt: The empty prompt's embedding (1, T, D), instead of the text encoder's.
        **settings: Other changes to the specification.

    Raises:
        CheckpointError: A part is missing, damaged, or the family cannot be told.
    """
    unet_folder = network_folder(folder, network)
    config, tensors = read_part(unet_folder)
    codec_config, codec_tensors = read_part(_vae_folder(vae) if vae else _part(folder, base, "vae"))
    index = read_json(folder / "model_index.json")
    fourier = any(name.startswith("fftblock.") for name in tensors)
    names = tuple(name for name in (unet_folder.name, hint.rpartition("/")[2], folder.name) if name not in ("", "unet"))
    evidence = Evidence(index.get("_class_name"), config, codec_config, fourier, names)
    where = hint or str(folder)
    check_configs(evidence, where)
    kind = identify(evidence, where, family, int(settings.get("condition_channels", 0)))
    shown, meant = identify_output(evidence, where, kind, output, space)
    if shown == "normals" and index.get("use_full_z_range") is False:
        raise CheckpointError(
            f"{where} gives normals with half the range of z (use_full_z_range), which Leadline does not do"
        )
    scheduler = read_json(_part(folder, base, "scheduler", required=False) / "scheduler_config.json")
    schedule = schedule_of(kind, scheduler, where)
    scale = codec_config.get("scaling_factor") if kind in _SCALED_BY_CONFIG else None
    spec = ModelSpec(
        kind.name,
        meant,
        {key: value for key, value in config.items() if key not in _STORAGE_KEYS},
        codec_config,
        latent_scale=float(scale or SD_LATENT_SCALE),
        fourier=fourier,
        default_steps=int(index.get("default_denoising_steps") or _default_steps(kind, schedule)),
        default_size=int(index.get("default_processing_resolution") or kind.default_size),
        pad_multiple=64 if kind is DEPTHFM else 8,
        name=hint.rpartition("/")[2] or folder.name,
        source=hint or folder.name,
        output=shown,
        schedule=schedule,
        samples_encoding=kind.samples_encoding,
    )
    if prompt is None:
        prompt = empty_prompt(folder if base is None or (folder / "text_encoder").is_dir() else base)
    return _assemble(spec.changed(**settings), prompt, tensors, codec_tensors, folder)


def network_folder(folder: Path, network: str | None = None) -> Path:
    """The folder with the network: ``unet``, the one that is named, the only ``unet_*``, or ``folder`` itself.

    Raises:
        CheckpointError: There is none, or there are several.
    """
    if network is not None:
        if Path(network).name != network or not (folder / network).is_dir():
            raise CheckpointError(f"{folder} has no folder '{network}'")
        return folder / network
    if (folder / "unet").is_dir():
        return folder / "unet"
    several = sorted(path for path in folder.glob("unet_*") if path.is_dir())
    if len(several) > 1:
        raise CheckpointError(
            f"{folder} holds several networks; say which with network=: {', '.join(path.name for path in several)}"
        )
    if several:
        return several[0]
    if (folder / "config.json").is_file() or (folder / "unet_config.json").is_file():
        part_config(folder)
        return folder
    raise CheckpointError(f"{folder} holds no checkpoint (no unet folder in it); give a diffusers folder or a file")


def looks_official(path: Path) -> bool:
    """Whether ``path`` has the outward form of an official checkpoint."""
    if path.is_file():
        return path.suffix in (".ckpt", ".pt", ".pth", ".bin")
    named = any((path / name).is_file() for name in ("config.json", "unet_config.json", "model_index.json"))
    return named or (path / "unet").is_dir() or any(path.glob("unet_*"))


def _default_steps(family: Family, schedule: Mapping[str, Any]) -> int:
    """Leading timesteps begin far from pure noise unless there are many of them."""
    leading = family.sampler is Sampler.DIFFUSION and schedule["kind"] == "ddim" and schedule["spacing"] == "leading"
    return 10 if leading else family.default_steps


def _part(folder: Path, base: Path | None, name: str, required: bool = True) -> Path:
    for root in (folder, base):
        if root is not None and (root / name).is_dir():
            return root / name
    if required:
        raise CheckpointError(
            f"{folder} has no {name} folder; give a folder that has one with base= (--base)"
            + (" or vae= (--vae)" if name == "vae" else "")
        )
    return folder / name


def _vae_folder(path: Path) -> Path:
    """A VAE's folder, or the one inside of a pipeline's."""
    inside = path / "vae"
    return inside if inside.is_dir() and not (path / "config.json").is_file() else path


def _assemble(
    spec: ModelSpec, prompt: Tensor, tensors: Mapping[str, Tensor], codec_tensors: Mapping[str, Tensor], path: Path
) -> ModelBundle:
    try:
        bundle = build_empty(spec, prompt)
    except (ValueError, TypeError, AttributeError, ZeroDivisionError, IndexError) as error:
        raise CheckpointError(
            f"{path} describes a network that cannot be built ({first_line(error)}); fetch it again"
        ) from error
    if prompt.shape[-1] != (spec.unet.get("cross_attention_dim") or prompt.shape[-1]):
        raise CheckpointError(
            f"the text encoder for {path} gives {prompt.shape[-1]} numbers a token, its network takes "
            f"{spec.unet.get('cross_attention_dim')}; it belongs to another model"
        )
    check_finite(dict(tensors), f"network in {path}")
    check_finite(dict(codec_tensors), f"VAE of {path}")
    fill_unet(bundle, dict(tensors), f"network in {path}")
    fill(bundle.codec.vae, modern_names(codec_tensors), f"VAE of {path}")
    bundle.weights_hash = fingerprint({"network": tensors, "codec": codec_tensors})
    return bundle


def fingerprint(parts: Mapping[str, Mapping[str, Tensor]]) -> str:
    """A digest of tensors by name, shape and 64 numbers of each, spread evenly: cheap, and another for any other training."""
    digest = hashlib.sha256()
    for part in sorted(parts):
        for name in sorted(parts[part]):
            tensor = parts[part][name]
            flat = tensor.reshape(-1)
            sample = flat[:: max(1, flat.numel() // 64)].float().numpy().tobytes()
            digest.update(f"{part}.{name}{tuple(tensor.shape)}".encode() + sample)
    return digest.hexdigest()
