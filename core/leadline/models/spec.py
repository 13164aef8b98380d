"""ModelSpec: everything about a model that is not a tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
        family: A name in :data:`leadline.models.families.FAMILIES`.
        space: What a depth map's raw numbers are affine in; None for models that give normals.
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
        output: "depth" or "normals".
        schedule: Settings of the published scheduler (:class:`leadline.models.samplers.Schedule`), for diffusion models.
        samples_encoding: Whether the image latent is drawn from the VAE's posterior, from the seed, rather than its mean.
        dropped: Residual blocks that are left out (:mod:`leadline.models.dropping`): names of the network ("unet.up_blocks.0.resnets.1")
            or of the autoencoder ("codec.encoder.down_blocks.0.resnets.0").
        small_decoder: Shape of the small decoder that stands in the place of the autoencoder's own
            (:class:`leadline.models.small_decoder.SmallDecoderSpec`), and under "codec" whose latents it decodes; empty for none.
    """

    family: str
    space: Space | None
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
    output: str = "depth"
    schedule: Mapping[str, Any] = field(default_factory=dict)
    samples_encoding: bool = False
    dropped: Sequence[str] = ()
    small_decoder: Mapping[str, Any] = field(default_factory=dict)

    def dropped_in(self, part: str) -> list[str]:
        """The blocks left out of "unet" or "codec", without that word before them."""
        return [name.removeprefix(f"{part}.") for name in self.dropped if name.startswith(f"{part}.")]

    @property
    def takes_sparse_depth(self) -> bool:
        """Whether the model was trained with sparse depth beside the image."""
        return self.condition_channels > 0

    def changed(self, **settings: Any) -> ModelSpec:
        """This spec with other settings; a space may be given by its name.

        Raises:
            CheckpointError: There is no such setting, or it contradicts what the model is.
        """
        unknown = set(settings) - {f.name for f in fields(self)}
        if unknown:
            raise CheckpointError(f"a model has no setting '{sorted(unknown)[0]}'; see leadline.models.ModelSpec")
        if settings.get("family", self.family) != self.family:
            raise CheckpointError(f"{self.name or 'this model'} is {self.family}, not {settings['family']}")
        if settings.get("output") not in (None, "depth", "normals"):  # "disparity" says both
            settings["space"], settings["output"] = settings["output"], "depth"
        settings = {key: value for key, value in settings.items() if value is not None or key != "output"}
        if settings.get("space") is not None:
            settings["space"] = space_named(settings["space"])
        changed = replace(self, **settings)
        if (changed.output == "normals") != (changed.space is None) or changed.output not in ("depth", "normals"):
            raise CheckpointError(
                f"{self.name or self.family} gives {self.output}: its output cannot be called {changed.output} in "
                f"{'no space' if changed.space is None else changed.space.value}"
            )
        return changed

    def to_json(self) -> str:
        """One JSON object, keys in order."""
        return json.dumps({**asdict(self), "space": self.space and self.space.value}, sort_keys=True)

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
            raw["space"] = None if raw["space"] is None else Space(raw["space"])
            raw["dropped"] = tuple(raw.get("dropped", ()))
            return cls(**raw)
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"the model's description cannot be read ({error}); import it again") from error


def space_named(name: str | Space) -> Space:
    """A space by its name.

    Raises:
        CheckpointError: There is no such space.
    """
    try:
        return Space(name)
    except ValueError as error:
        raise CheckpointError(f"space '{name}' is unknown; use {', '.join(space.value for space in Space)}") from error
