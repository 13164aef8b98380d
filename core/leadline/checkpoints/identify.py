"""Which family a published folder belongs to and what it gives: from tensors, configurations, class and name.

Tensors decide what they can: channels, class embedding, Fourier block. The pipeline class named in ``model_index.json`` is believed
where it is not shared (Marigold's name is also DepthMaster's; E2E-FT's is Stable Diffusion's own). Depth, disparity and
normals are told apart by no file at all, only by name or by the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leadline.depth.spaces import Space
from leadline.errors import CheckpointError
from leadline.models.families import (
    DEPTHFM,
    DEPTHMASTER,
    E2E_FT,
    FAMILIES,
    FIFFDEPTH,
    GENPERCEPT,
    LOTUS_D,
    LOTUS_G,
    MARIGOLD,
    Family,
    Sampler,
    family_named,
)
from leadline.models.samplers import Schedule
from leadline.models.spec import space_named

#: Pipeline classes that mean one family, and those whose name also says what they give.
_CLASSES: dict[str, Family] = {
    "MarigoldPipeline": MARIGOLD,
    "MarigoldDepthPipeline": MARIGOLD,
    "MarigoldNormalsPipeline": MARIGOLD,
    "LotusGPipeline": LOTUS_G,
    "DirectDiffusionY0Pipeline": LOTUS_G,
    "LotusDPipeline": LOTUS_D,
    "DirectRegressionPipeline": LOTUS_D,
    "GenPerceptPipeline": GENPERCEPT,
    "DepthMasterPipeline": DEPTHMASTER,
    "DirectPipeline": FIFFDEPTH,
}
_CLASS_OUTPUTS = {"MarigoldDepthPipeline": "depth", "MarigoldPipeline": "depth", "MarigoldNormalsPipeline": "normals"}

#: Words in a repository's or folder's name, the first that is found counts.
_NAMES: tuple[tuple[str, Family], ...] = (
    ("e2e", E2E_FT),
    ("genpercept", GENPERCEPT),
    ("depthmaster", DEPTHMASTER),
    ("fiffdepth", FIFFDEPTH),
    ("depthfm", DEPTHFM),
    ("marigold", MARIGOLD),
)

#: Settings of a UNet2DConditionModel that change its function and that this program does not follow.
_UNET_DEFAULTS: dict[str, Any] = {
    "center_input_sample": False, "dual_cross_attention": False, "only_cross_attention": False, "num_class_embeds": None,
    "class_embeddings_concat": False, "addition_embed_type": None, "encoder_hid_dim": None, "encoder_hid_dim_type": None,
    "time_cond_proj_dim": None, "time_embedding_type": "positional", "time_embedding_act_fn": None,
    "timestep_post_act": None, "cross_attention_norm": None, "attention_type": "default", "act_fn": "silu",
    "resnet_time_scale_shift": "default", "resnet_skip_time_act": False, "mid_block_type": "UNetMidBlock2DCrossAttn",
    "resnet_out_scale_factor": 1.0, "mid_block_scale_factor": 1, "conv_in_kernel": 3, "conv_out_kernel": 3, "downsample_padding": 1,
    "time_embedding_dim": None, "num_attention_heads": None, "reverse_transformer_layers_per_block": None,
}  # fmt: skip
_VAE_DEFAULTS: dict[str, Any] = {"latents_mean": None, "latents_std": None, "shift_factor": None, "act_fn": "silu"}

_BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000}
_SCHEDULER_DEFAULTS: dict[str, Any] = {"clip_sample": False, "thresholding": False, "trained_betas": None}


@dataclass(frozen=True)
class Evidence:
    """What a folder says about itself.

    Attributes:
        pipeline: ``_class_name`` of ``model_index.json``, or None.
        unet, codec: Configurations.
        fourier: Whether there are ``fftblock.*`` tensors.
        names: Names that may tell, most telling first: the network's folder, the repository, the folder.
    """

    pipeline: str | None
    unet: Mapping[str, Any]
    codec: Mapping[str, Any]
    fourier: bool
    names: tuple[str, ...]

    @property
    def latents_seen(self) -> float:
        """Latents among the network's input channels."""
        return float(self.unet.get("in_channels", 4)) / float(self.codec.get("latent_channels", 4))

    @property
    def has_class(self) -> bool:
        """Whether the network has a class embedding."""
        return self.unet.get("class_embed_type") is not None


def check_configs(evidence: Evidence, where: str) -> None:
    """
    Raises:
        CheckpointError: A configuration asks for something that this program does not do.
    """
    for part, config, known, defaults in (
        ("network", evidence.unet, "UNet2DConditionModel", _UNET_DEFAULTS),
        ("VAE", evidence.codec, "AutoencoderKL", _VAE_DEFAULTS),
    ):
        name = str(config.get("_class_name", known))
        if known not in name:
            raise CheckpointError(f"the {part} of {where} is a {name}; only {known} is known")
        for key, usual in defaults.items():
            if config.get(key, usual) not in (usual, [usual]) and not _all_usual(config[key], usual):
                raise CheckpointError(f"the {part} of {where} has {key} = {config[key]!r}, which Leadline does not do")
    kind = evidence.unet.get("class_embed_type")
    if kind not in (None, "projection"):
        raise CheckpointError(f"the network of {where} has class_embed_type = {kind!r}, which Leadline does not do")
    width = evidence.unet.get("projection_class_embeddings_input_dim")
    if kind == "projection" and width != len(LOTUS_D.class_vector or ()):
        raise CheckpointError(f"the network of {where} takes class vectors of {width} numbers; only Lotus' 4 are known")
    latents = int(evidence.codec.get("latent_channels", 4))
    if int(evidence.unet.get("out_channels", 4)) != latents:
        raise CheckpointError(
            f"the network of {where} gives {evidence.unet.get('out_channels')} channels, its VAE takes {latents}; "
            "only models of one map are known"
        )


def _all_usual(value: Any, usual: Any) -> bool:
    return isinstance(value, list) and all(one == usual for one in value)


def identify(evidence: Evidence, where: str, family: str | None, condition_channels: int = 0) -> Family:
    """The family of a folder.

    Raises:
        CheckpointError: It cannot be told, or ``family`` contradicts the tensors.
    """
    if family is not None:
        chosen = family_named(family)
        _check_fit(chosen, evidence, where, condition_channels)
        return chosen
    if evidence.fourier:
        found: Family | None = DEPTHMASTER
    elif evidence.has_class:
        found = LOTUS_D if evidence.latents_seen == 1 else LOTUS_G
    else:
        found = _CLASSES.get(evidence.pipeline or "")
        if found is not None and not _fits(found, evidence, 0):
            found = None
        if found is None:
            named = (kind for name in evidence.names for word, kind in _NAMES if word in name.lower())
            found = next((kind for kind in named if _fits(kind, evidence, 0)), None)
        if (
            found is None
            and any(name.startswith("unet_") for name in evidence.names)
            and _fits(GENPERCEPT, evidence, 0)
        ):
            found = GENPERCEPT
    if found is None:
        fitting = [kind.name for kind in FAMILIES.values() if _fits(kind, evidence, 0)]
        if not fitting:
            channels = evidence.unet.get("in_channels")
            raise CheckpointError(f"{where} has a network of {channels} input channels, which no known family has")
        raise CheckpointError(
            f"{where} does not say which model it is (pipeline {evidence.pipeline}); give family= (--family) "
            f"{' or '.join(fitting)}"
        )
    _check_fit(found, evidence, where, condition_channels)
    return found


def identify_output(
    evidence: Evidence, where: str, family: Family, output: str | None, space: str | Space | None
) -> tuple[str, Space | None]:
    """("depth", its space) or ("normals", None), from what the user says, else the pipeline's class, else names.

    Raises:
        CheckpointError: It cannot be told, or the family gives no such thing.
    """
    if output is not None and output not in ("depth", "normals"):  # "disparity" says both
        space, output = space or output, "depth"
    if space is not None and output != "normals":
        return "depth", space_named(space)
    if output is None:
        output = _CLASS_OUTPUTS.get(evidence.pipeline or "")
        told = _told_by_name(evidence.names)
        if told == "normals" or (output is None and told is not None):
            output = told
        if output is None and family.normal_range is None and family.space is not None:
            output = "depth"
        if output is None:
            raise CheckpointError(
                f"no file in {where} says whether it gives depth, disparity or normals; give output= (--output)"
            )
    if output == "normals":
        if family.normal_range is None:
            raise CheckpointError(
                f"the normals of {family.name} have axes that its authors do not state; not supported"
            )
        return "normals", None
    if output == "disparity":
        return "depth", Space.DISPARITY
    return "depth", family.space if family.space is not None else Space.DEPTH


def _told_by_name(names: tuple[str, ...]) -> str | None:
    for name in names:
        for word, output in (("disparity", "disparity"), ("normal", "normals"), ("depth", "depth")):
            if word in name.lower():
                return output
    return None


def _fits(family: Family, evidence: Evidence, condition_channels: int) -> bool:
    latents = float(evidence.codec.get("latent_channels", 4))
    seen = (float(evidence.unet.get("in_channels", 4)) - condition_channels) / latents
    return (
        seen == family.latents_seen
        and evidence.has_class == (family.class_vector is not None)
        and (family.fourier or not evidence.fourier)
    )


def _check_fit(family: Family, evidence: Evidence, where: str, condition_channels: int) -> None:
    if _fits(family, evidence, condition_channels):
        return
    channels = evidence.unet.get("in_channels")
    details = f"{channels} input channels" + (", a class embedding" if evidence.has_class else "")
    details += ", a Fourier block" if evidence.fourier else ""
    fitting = [kind.name for kind in FAMILIES.values() if _fits(kind, evidence, 0)]
    raise CheckpointError(
        f"{where} is no {family.name}: its network has {details}"
        + (f"; it may be {' or '.join(fitting)}" if fitting else "")
    )


def schedule_of(family: Family, scheduler: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of :class:`~leadline.models.samplers.Schedule` in a ``scheduler_config.json``; {} for one-step families.

    Raises:
        CheckpointError: The scheduler is another than the family's, or has settings that this program does not follow.
    """
    if not scheduler:
        if family.sampler is Sampler.DIFFUSION:
            raise CheckpointError(
                f"{where} has no scheduler/scheduler_config.json, which says its timesteps; fetch it again"
            )
        return {}
    if family.sampler is not Sampler.DIFFUSION and family is not E2E_FT and family.class_vector is None:
        return {}  # its constants are the authors', whatever scheduler lies beside them
    wanted = "sample" if family.class_vector is not None else "v_prediction"
    _expect(scheduler, {"prediction_type": wanted}, {"prediction_type": "epsilon"}, where)
    if family.sampler is not Sampler.DIFFUSION:
        if family is E2E_FT:
            _expect(scheduler, _BETAS, {}, where)
        return {}
    kind = {"DDIMScheduler": "ddim", "LCMScheduler": "lcm"}.get(str(scheduler.get("_class_name")))
    if kind is None:
        raise CheckpointError(f"{where} has a {scheduler.get('_class_name')}; of schedulers DDIM and LCM are known")
    _expect(scheduler, {"beta_schedule": "scaled_linear"}, {"beta_schedule": "linear"}, where)
    _expect(scheduler, _SCHEDULER_DEFAULTS, {"clip_sample": True}, where)
    spacing = str(scheduler.get("timestep_spacing", "leading"))
    if kind == "ddim" and spacing not in ("leading", "trailing"):
        raise CheckpointError(f"{where} has timestep_spacing = '{spacing}'; leading and trailing are known")
    return Schedule(
        kind=kind,
        spacing=spacing,
        beta_start=float(scheduler.get("beta_start", 0.0001)),
        beta_end=float(scheduler.get("beta_end", 0.02)),
        timesteps=int(scheduler.get("num_train_timesteps", 1000)),
        zero_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        alpha_to_one=bool(scheduler.get("set_alpha_to_one", True)),
        offset=int(scheduler.get("steps_offset", 0)),
        original_steps=int(scheduler.get("original_inference_steps", 50)),
        scaling=float(scheduler.get("timestep_scaling", 10.0)),
    ).settings()


def _expect(scheduler: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    for key, value in wanted.items():
        found = scheduler.get(key, defaults.get(key, value))
        if found != value:
            raise CheckpointError(f"the scheduler of {where} has {key} = {found!r}; only {value!r} is known here")
