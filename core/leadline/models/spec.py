"""ModelSpec: everything about a model that is not a tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from leadline.depth.spaces import Space
from leadline.errors import CheckpointError

#: Every official release scales latents by this number, whatever its VAE's config says.
SD_LATENT_SCALE = 0.18215


@dataclass(frozen=True)
class ModelSpec:
    """What a checkpoint is; stored beside its tensors and the single source of its semantics.

    Attributes:
        family: "depthfm", "depthmaster" or "fiffdepth".
        space: What the raw output is affine in.
        unet: Config of a diffusers ``UNet2DConditionModel``.
        codec: Config of a diffusers ``AutoencoderKL``.
        latent_scale: Factor between the VAE's posterior mean and the latents that the UNet sees.
        default_steps: Euler steps (NFE) when none are asked for; 1 for one-step models.
        default_size: Long edge in pixels at which the model works best.
        pad_multiple: Image sides are padded to a multiple of this.
        noising_step: DepthFM's noise augmentation of the start latent, in thousandths of the cosine schedule.
        token_count_scaling: DepthFM: scale self-attention logits by sqrt(ln n / ln 4n), n tokens, as the official
            code does when xformers is absent. Off reproduces the documented set-up (with xformers).
        fourier: DepthMaster: whether the Fourier Enhancement block is there (second stage) or not (first stage).
        condition_channels: Extra latent channels after the image latent (sparse depth, distance map): 0 for none.
        name, source, licence: Where it comes from.
        extra: Anything a trainer wants to remember (command, seed, scores).
    """

    family: str
    space: Space
    unet: Mapping[str, Any]
    codec: Mapping[str, Any]
    latent_scale: float = SD_LATENT_SCALE
    default_steps: int = 1
    default_size: int = 768
    pad_multiple: int = 8
    noising_step: int = 400
    token_count_scaling: bool = False
    fourier: bool = False
    condition_channels: int = 0
    name: str = ""
    source: str = ""
    licence: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, **settings: Any) -> ModelSpec:
        """This spec with other settings; a space may be given by its name.

        Raises:
            CheckpointError: There is no such setting.
        """
        if "space" in settings:
            settings["space"] = Space(settings["space"])
        unknown = set(settings) - {f.name for f in fields(self)}
        if unknown:
            raise CheckpointError(f"a model has no setting '{sorted(unknown)[0]}'; see leadline.models.ModelSpec")
        return replace(self, **settings)

    def to_json(self) -> str:
        """One JSON object, keys in order."""
        return json.dumps({**asdict(self), "space": self.space.value}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The inverse of :meth:`to_json`.

        Raises:
            CheckpointError: The text is not a spec, or a newer one than this version knows.
        """
        try:
            raw = json.loads(text)
            unknown = set(raw) - {f.name for f in fields(cls)}
            if unknown:
                raise CheckpointError(
                    f"the model describes itself with unknown words ({', '.join(sorted(unknown))}); update Leadline"
                )
            raw["space"] = Space(raw["space"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"the model's description cannot be read ({error}); import it again") from error
