"""From a configuration to the objects of a training: model, recipe, batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import torch

from leadline.checkpoints.bundle import ModelBundle, build
from leadline.checkpoints.official import load_folder
from leadline.checkpoints.resolve import resolve
from leadline.checkpoints.small_codecs import load_small_decoder, load_small_encoder, small_decoder_for
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.models import Codec, ModelSpec
from leadline.models.families import family_named
from leadline.training.augment import Augmentation
from leadline.training.autoencoder import AutoencoderRecipe, is_codec_file, load_codec_file
from leadline.training.base import DepthRecipe, warm_start
from leadline.training.completion import CompletionRecipe
from leadline.training.config import take
from leadline.training.datasets import Hypersim, PairFolder, RenderedShards, RgbdDataset, VirtualKitti2
from leadline.training.depthfm import DepthFMRecipe
from leadline.training.depthmaster import DepthMasterStage1, DepthMasterStage2
from leadline.training.fiffdepth import FiffDepthRecipe
from leadline.training.growth import keep_time
from leadline.training.latents import read_cache, target_named
from leadline.training.map_teachers import MapLatents, is_transformers_folder, open_teacher
from leadline.training.normalisation import Normalisation
from leadline.training.pictures import open_pictures
from leadline.training.small_decoder import SmallDecoderRecipe
from leadline.training.small_encoder import SmallEncoderRecipe
from leadline.training.sources import BatchSource, PixelSource
from leadline.training.teachers import CodecFeatures, DinoV2Encoder, FeatureEncoder, ModelTeacher, Teacher
from leadline.training.trainer import Recipe, TrainerConfig

#: Recipe → model family and the value space of its paper.
RECIPES: dict[str, tuple[str, Space]] = {
    "depthmaster-stage1": ("depthmaster", Space.SQRT_DISPARITY),
    "depthmaster-stage2": ("depthmaster", Space.SQRT_DISPARITY),
    "depthfm": ("depthfm", Space.LOG_DEPTH),
    "fiffdepth": ("fiffdepth", Space.DEPTH),
    "completion": ("depthfm", Space.LOG_DEPTH),
}
AUTOENCODER = "autoencoder"
SMALL_DECODER, SMALL_ENCODER = "small-decoder", "small-encoder"
PROMPT_SEED = 20


def trainer_config(config: Mapping[str, Any]) -> TrainerConfig:
    """The ``trainer`` section."""
    section = config.get("trainer", {})
    unknown = sorted(set(section) - {field.name for field in fields(TrainerConfig)})
    if unknown:
        raise InputError(f"unknown key '{unknown[0]}' in trainer")
    if "steps" not in section:
        raise InputError("trainer.steps is missing; say how many steps to train")
    kinds = get_type_hints(TrainerConfig)
    if section.get("precision") is False:  # YAML reads an unquoted no as false
        section = {**section, "precision": "no"}
    values: dict[str, Any] = {
        key: _number(f"trainer.{key}", value) if kinds[key] is float else value for key, value in section.items()
    }
    return TrainerConfig(**values)


def _number(key: str, value: Any) -> float:
    """YAML reads 7e-4 as text: it knows 7.0e-4 only."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} is a number, not '{value}'") from None


def build_recipe(config: Mapping[str, Any]) -> Recipe:
    """The recipe of a configuration, with its model freshly initialised or started from another.

    Raises:
        InputError: The configuration asks for something that does not exist.
    """
    name = config.get("recipe")
    torch.manual_seed(int(config.get("trainer", {}).get("seed", 0)))
    if name == AUTOENCODER:
        section = take(
            config.get("model", {}),
            "model",
            {"block_out_channels": [16, 32, 64, 96], "latent_channels": 8, "norm_num_groups": 8},
        )
        return AutoencoderRecipe(Codec(codec_config(**section), latent_scale=1.0), **config.get("loss", {}))
    if name in (SMALL_DECODER, SMALL_ENCODER):
        return _small_codec(config)
    if name not in RECIPES:
        known = ", ".join([AUTOENCODER, SMALL_DECODER, SMALL_ENCODER, *RECIPES])
        raise InputError(f"recipe '{name}' is unknown; known are {known}")
    bundle, start = build_model(config)
    loss = dict(config.get("loss", {}))
    weight_aligned, reader = _number("loss.weight_aligned", loss.pop("weight_aligned", 0.0)), loss.pop("reader", None)
    recipe: DepthRecipe
    if name == "depthmaster-stage1":
        if config.get("encoder") is None and _number("loss.weight_fa", loss.get("weight_fa", 0)) > 0:
            raise InputError(
                "loss.weight_fa weighs feature alignment, which needs an encoder; name one, or weight_fa: 0"
            )
        recipe = DepthMasterStage1(bundle, _encoder(config.get("encoder"), bundle), **loss)
    elif name == "depthmaster-stage2":
        identity = loss.pop("identity_start", True)
        fresh = bundle.spec.fourier and start is not None and not start.spec.fourier
        recipe = DepthMasterStage2(bundle, starts_block=identity and fresh, **loss)
    elif name == "fiffdepth":
        recipe = FiffDepthRecipe(bundle, _teacher(config, bundle), **loss)
    elif name == "completion":
        recipe = CompletionRecipe(bundle)
    else:
        recipe = DepthFMRecipe(bundle, teacher=_teacher(config, bundle), **loss)
    lora = config.get("model", {}).get("lora")
    if lora is not None:
        recipe.adapt(lora)
    frozen = config.get("model", {}).get("frozen") or []
    if not isinstance(frozen, list):
        raise InputError(f"model.frozen is a list of parts, such as [down_blocks, mid_block], not '{frozen}'")
    recipe.freeze(frozen)
    recipe.align_with(weight_aligned, None if reader is None else small_decoder_for(bundle.codec, reader))
    return recipe


def _small_codec(config: Mapping[str, Any]) -> Recipe:
    """A small decoder's or encoder's recipe. ``through``: models of this codec, on whose latents it must do well."""
    if not config.get("codec"):
        raise InputError("codec is missing; give a model, or the codec.safetensors of an autoencoder training")
    codec = load_codec(Path(config["codec"]))
    models = [resolve(name).model for name in config.get("through") or ()]
    path, loss = config.get("start_from"), config.get("loss", {})
    if config["recipe"] == SMALL_ENCODER:
        return SmallEncoderRecipe(codec, models, None if path is None else load_small_encoder(Path(path)), **loss)
    return SmallDecoderRecipe(codec, models, None if path is None else load_small_decoder(Path(path)), **loss)


def trained_space(config: Mapping[str, Any]) -> Space:
    """What the model's numbers will mean: ``model.space`` or ``data.target``, or else the family's own.

    Raises:
        InputError: The two differ, so that the model would be labelled as something that it was not trained for.
    """
    said = [config.get("model", {}).get("space"), config.get("data", {}).get("target")]
    named = {str(one) for one in said if one is not None}
    if len(named) > 1:
        raise InputError(f"model.space is {said[0]}, but data.target is {said[1]}; a model's space is its targets'")
    return Space(named.pop()) if named else RECIPES[config["recipe"]][1]


def build_model(config: Mapping[str, Any]) -> tuple[ModelBundle, ModelBundle | None]:
    """The model to train, and the one it was started from, if any."""
    family, _ = RECIPES[config["recipe"]]
    start = _start(config.get("start_from"))
    same = start.spec if start is not None and start.spec.family == family else None
    section = take(
        config.get("model", {}),
        "model",
        {
            "unet": None,
            "space": None,
            "prompt_tokens": 2,
            "default_size": same.default_size if same else 768,
            "default_steps": same.default_steps if same else 1,
            "noising_step": same.noising_step if same else 400,
            "fourier": config["recipe"] == "depthmaster-stage2",
            "frozen": [],
            "lora": None,
        },
    )
    if start is not None:
        codec, prompt = start.codec, start.model.prompt
        unet: dict[str, Any] = dict(section["unet"] or start.spec.unet)
    elif config.get("codec"):
        codec = load_codec(Path(config["codec"]))
        if section["unet"] is None:
            raise InputError("model.unet is missing; describe the network, or give start_from")
        unet = dict(section["unet"])
        width = int(unet.get("cross_attention_dim", 1280))
        generator = torch.Generator().manual_seed(PROMPT_SEED)
        prompt = torch.randn(1, section["prompt_tokens"], width, generator=generator)
    else:
        raise InputError("give start_from (a model to go on from) or codec (an autoencoder to train a new model on)")
    channels = codec.latent_channels
    condition = 2 * channels if config["recipe"] == "completion" else 0
    unet["in_channels"] = channels * family_named(family).latents_seen + condition
    unet["out_channels"] = channels
    spec = ModelSpec(
        family=family,
        space=trained_space(config),
        unet=unet,
        codec=dict(codec.vae.config),
        latent_scale=codec.latent_scale,
        default_steps=section["default_steps"],
        default_size=section["default_size"],
        pad_multiple=codec.factor,
        noising_step=section["noising_step"],
        fourier=section["fourier"],
        condition_channels=condition,
        name=config.get("name", config["recipe"]),
        licence=config.get("licence", ""),
    )
    bundle = build(spec, prompt.detach().clone())
    bundle.codec.vae.load_state_dict(codec.vae.state_dict())
    if start is not None:
        warm_start(bundle.model, start.model)
        released = isinstance(
            config["start_from"], dict
        )  # Stable Diffusion was trained at every timestep, the paper's among them
        ours, theirs = bundle.model.traits, start.model.traits
        if ours.one_step and theirs.one_step and not released:
            keep_time(bundle.model.unet, theirs.timestep, ours.timestep)
    return bundle, start


def _start(section: Any) -> ModelBundle | None:
    """The model to start from: a catalog name, any checkpoint on disk, or ``stable_diffusion: FOLDER``."""
    if section is None:
        return None
    if isinstance(section, dict):
        if set(section) != {"stable_diffusion"}:
            raise InputError("start_from is a name, a path, or stable_diffusion: FOLDER")
        return load_folder(Path(section["stable_diffusion"]), family="fiffdepth")  # a plain four-channel network
    return resolve(section)


def load_codec(path: Path) -> Codec:
    """The autoencoder in a codec file of the autoencoder recipe, or inside a model.

    Raises:
        InputError: There is no such file.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a codec.safetensors or a model")
    return load_codec_file(path) if is_codec_file(path) else resolve(path).codec


def codec_config(block_out_channels: list[int], latent_channels: int, norm_num_groups: int) -> dict[str, Any]:
    """Config of a small ``AutoencoderKL``: one residual block per level, no attention, no extra 1 × 1 convolutions."""
    levels = len(block_out_channels)
    return {
        "in_channels": 3, "out_channels": 3, "sample_size": 256, "layers_per_block": 1,
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": block_out_channels, "latent_channels": latent_channels,
        "norm_num_groups": norm_num_groups, "mid_block_add_attention": False,
        "use_quant_conv": False, "use_post_quant_conv": False,
    }  # fmt: skip


def build_dataset(kind: str, **where: Any) -> RgbdDataset:
    """A data set by kind: "rendered", "hypersim", "vkitti2" or "pairs"."""
    readers: dict[str, Any] = {
        "rendered": RenderedShards,
        "hypersim": Hypersim,
        "vkitti2": VirtualKitti2,
        "pairs": PairFolder,
    }
    if kind not in readers:
        raise InputError(f"data of kind '{kind}' is unknown; known are {', '.join(readers)}")
    paths = {k: Path(v) if k in ("root", "split_csv", "list_file") and v is not None else v for k, v in where.items()}
    try:
        dataset: RgbdDataset = readers[kind](**paths)
    except TypeError as error:
        raise InputError(f"data of kind '{kind}': {error}") from error
    return dataset


def build_source(config: Mapping[str, Any]) -> BatchSource:
    """The batches of a configuration: cached latents, or pictures from data sets."""
    section = dict(config.get("data", {}))
    target = section.pop("target", Space.SQRT_DISPARITY.value)
    if config.get("recipe") in RECIPES:
        target = trained_space(config).value
    if "latents" in section:
        section = take(section, "data", {"latents": [], "sizes": None})
        folders = section["latents"] if isinstance(section["latents"], list) else [section["latents"]]
        return read_cache([Path(folder) for folder in folders], target, section["sizes"])
    section = take(
        section,
        "data",
        {
            "sets": [],
            "sizes": [[192, 256]],
            "augmentation": {},
            "depth_range_m": None,
            "clip": None,
            "unlabelled": None,
            "unlabelled_ratio": 1.0,
            "sky": "masked" if str(config.get("recipe")).startswith("depthmaster") else "far",
        },
    )
    if not section["sets"]:
        raise InputError("data.sets is empty; name at least one data set, or cached latents")
    if section["sky"] not in ("far", "masked"):
        raise InputError(f"data.sky is 'far' or 'masked', not '{section['sky']}'")
    ours = ("weight", "sizes", "depth_range_m")
    datasets = [build_dataset(**{k: v for k, v in one.items() if k not in ours}) for one in section["sets"]]
    targets = target if isinstance(target, list) else [target]
    normalisations = [_normalisation(name, section) for name in targets]
    return PixelSource(
        datasets,
        [float(one.get("weight", 1.0)) for one in section["sets"]],
        [[(int(h), int(w)) for h, w in one.get("sizes", section["sizes"])] for one in section["sets"]],
        normalisations,
        Augmentation.of(section["augmentation"]),
        None if section["unlabelled"] is None else open_pictures(Path(section["unlabelled"])),
        [_span(one.get("depth_range_m")) for one in section["sets"]],
        masks_sky=section["sky"] == "masked",
        unlabelled_ratio=_number("data.unlabelled_ratio", section["unlabelled_ratio"]),
    )


def _normalisation(name: str, section: Mapping[str, Any]) -> Normalisation:
    default = target_named(name)
    clip = default.clip if section["clip"] is None else float(section["clip"])
    return Normalisation(default.space, clip=clip, depth_range_m=_span(section["depth_range_m"]))


def _span(given: Any) -> tuple[float, float] | None:
    """Near and far, in metres."""
    if given is None:
        return None
    if not isinstance(given, list | tuple) or len(given) != 2:
        raise InputError(f"depth_range_m is [near, far] in metres, not {given}")
    return float(given[0]), float(given[1])


def _encoder(section: Any, bundle: ModelBundle) -> FeatureEncoder | None:
    if section is None:
        return None
    if section == "codec":
        return CodecFeatures(bundle.codec)
    if isinstance(section, dict) and "dinov2" in section:
        return DinoV2Encoder(section["dinov2"])
    raise InputError("encoder is 'codec', or dinov2: FOLDER")


def _teacher(config: Mapping[str, Any], student: ModelBundle) -> Teacher | None:
    """The teacher of a configuration, which must have pictures to teach on.

    One of the student's codec and space works on latents; all others give maps, which are converted.
    """
    name, pictures = config.get("teacher"), config.get("data", {}).get("unlabelled")
    if name is None:
        if pictures is not None:
            raise InputError("data.unlabelled without a teacher teaches nothing; name a teacher")
        return None
    if pictures is None:
        raise InputError("teacher needs pictures without depth to teach on; give data.unlabelled, a folder of them")
    space = student.spec.space
    assert space is not None  # the recipes train depth
    if not is_transformers_folder(name):
        teacher = resolve(name)
        if teacher.spec.space is None:
            raise InputError(f"teacher '{name}' gives surface normals, not depth")
        same = teacher.spec.space is space and teacher.codec.fingerprint == student.codec.fingerprint
        if same and teacher.model.traits.one_step:
            return ModelTeacher(teacher.model)
    return MapLatents(open_teacher(name), student.codec, space)
