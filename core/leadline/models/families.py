"""The families of models as data: what each does with an image latent, and what its numbers mean.

Every family is Stable Diffusion's network run a few times or once. What tells them apart is written down here and
nowhere else; :class:`~leadline.models.base.DepthModel` is the one program that reads it. No torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from leadline.depth.spaces import Space
from leadline.errors import CheckpointError


class Start(str, Enum):
    """The latent x that the network sees beside the image latent z, before the first step."""

    NONE = "none"  #: the network sees z alone
    NOISE = "noise"  #: standard normal noise; the network sees cat([z, x])
    ZEROS = "zeros"  #: zeros; the network sees cat([z, x])
    NOISED_IMAGE = "noised image"  #: z with noise augmentation; the network sees cat([x, z])


class Sampler(str, Enum):
    """How x becomes the result."""

    ONE_STEP = "one step"  #: one evaluation at a fixed timestep; the result is ``gain`` times the network's output
    FLOW = "flow"  #: Euler steps of dx/dt = network(x, t), t from 0 to 1
    DIFFUSION = "diffusion"  #: the schedule in the checkpoint: DDIM or LCM


class DepthRange(str, Enum):
    """From decoded channels to the published numbers of a depth map."""

    RAW = "raw"  #: the mean of the three channels
    CLIPPED = "clipped"  #: their mean, clipped to [-1, 1], to [0, 1]
    STRETCHED = "stretched"  #: the same, then each map stretched to exactly [0, 1]
    CHANNELS_CLIPPED = "channels clipped"  #: each channel clipped and brought to [0, 1], then their mean


class NormalRange(str, Enum):
    """From decoded channels to the published numbers of surface normals."""

    UNIT = "unit"  #: clipped to [-1, 1], then unit length
    SOFT_UNIT = "soft unit"  #: twice divided by (length + 1e-5), not clipped
    CLIPPED = "clipped"  #: clipped to [-1, 1]


#: The constant class vector with which Lotus asks for annotation: sin and cos of (1, 0).
_ANNOTATE = (math.sin(1.0), math.sin(0.0), math.cos(1.0), math.cos(0.0))

#: 1 - product of (1 - beta) over Stable Diffusion's 1000 betas: the noise power at timestep 999.
_NOISE_POWER_999 = 0.9953399015


@dataclass(frozen=True)
class Family:
    """What the models of one family have in common.

    Attributes:
        name: How a specification names it.
        title: For people, with the paper.
        start: See :class:`Start`.
        sampler: See :class:`Sampler`.
        timestep: Of a one-step model.
        gain: Of a one-step model: the depth latent is this times the network's output.
        class_vector: Constant class embedding that the network was trained with; None for a network without one.
        fourier: Whether the network may carry the Fourier Enhancement block.
        takes_sparse_depth: Whether models of the family can be trained with sparse depth beside the image.
        samples_encoding: Whether the authors draw the image latent from the VAE's posterior (others take its mean).
        space: What depth maps are affine in where the checkpoint does not say; None if it must be said.
        depth_range, normal_range: See there; None: the family has no such models.
        normals_x_left: Whether published normals have x to the left (y is up, z towards the viewer in all of them).
        ensemble_from: "noise": members start from different noise; "views": they see flips and small shifts.
        aligned: Whether the maps of an ensemble are known up to scale and shift only and are aligned before averaging.
        default_steps: Network evaluations where the checkpoint does not say.
        max_steps: None: any number.
        default_size: Long edge in pixels.
        official_framing: How the authors' script resizes (see :mod:`leadline.inference.framing`).
        diffusers_framing: Whether diffusers has a pipeline for the family, which resizes otherwise.
    """

    name: str
    title: str
    start: Start
    sampler: Sampler
    space: Space | None
    timestep: float = 0.0
    gain: float = 1.0
    class_vector: tuple[float, ...] | None = None
    fourier: bool = False
    takes_sparse_depth: bool = False
    samples_encoding: bool = False
    depth_range: DepthRange = DepthRange.CLIPPED
    normal_range: NormalRange | None = None
    normals_x_left: bool = False
    aligned: bool = False
    default_steps: int = 1
    max_steps: int | None = 1
    default_size: int = 768
    official_framing: str = "repository"
    diffusers_framing: bool = False

    @property
    def stochastic(self) -> bool:
        """Whether the result depends on start noise."""
        return self.start in (Start.NOISE, Start.NOISED_IMAGE)

    @property
    def one_step(self) -> bool:
        """Whether there is one evaluation, always at the same timestep."""
        return self.sampler is Sampler.ONE_STEP

    @property
    def ensemble_from(self) -> str:
        """ "noise" or "views"."""
        return "noise" if self.stochastic else "views"

    @property
    def latents_seen(self) -> int:
        """How many latents the network sees: 1 (the image's) or 2."""
        return 1 if self.start is Start.NONE else 2

    @property
    def framings(self) -> tuple[str, ...]:
        """Ways to resize that :meth:`leadline.DepthEstimator.predict` takes for this family."""
        return ("pad", "official", "diffusers") if self.diffusers_framing else ("pad", "official")


DEPTHFM = Family(
    "depthfm", "DepthFM (Gui et al., AAAI 2025)", Start.NOISED_IMAGE, Sampler.FLOW, Space.LOG_DEPTH,
    depth_range=DepthRange.RAW, takes_sparse_depth=True, max_steps=None, official_framing="depthfm",
)  # fmt: skip
DEPTHMASTER = Family(
    "depthmaster", "DepthMaster (Song et al., 2025)", Start.NONE, Sampler.ONE_STEP, Space.SQRT_DISPARITY,
    timestep=1.0, fourier=True,
)  # fmt: skip
FIFFDEPTH = Family(
    "fiffdepth", "FiffDepth (Bai and Huang, 2024)", Start.NONE, Sampler.ONE_STEP, Space.DEPTH, timestep=0.0
)
MARIGOLD = Family(
    "marigold", "Marigold (Ke et al., CVPR 2024)", Start.NOISE, Sampler.DIFFUSION, Space.DEPTH,
    normal_range=NormalRange.UNIT, aligned=True, default_steps=4, max_steps=1000, diffusers_framing=True,
)  # fmt: skip
E2E_FT = Family(
    "e2e-ft", "E2E-FT (Martin Garcia et al., WACV 2025)", Start.ZEROS, Sampler.ONE_STEP, Space.DEPTH,
    timestep=999.0, gain=-math.sqrt(_NOISE_POWER_999), depth_range=DepthRange.STRETCHED,
    normal_range=NormalRange.SOFT_UNIT, normals_x_left=True,
)  # fmt: skip
LOTUS_D = Family(
    "lotus-d", "Lotus-D (He et al., ICLR 2025)", Start.NONE, Sampler.ONE_STEP, None,
    timestep=999.0, class_vector=_ANNOTATE, samples_encoding=True, depth_range=DepthRange.CHANNELS_CLIPPED,
    normal_range=NormalRange.CLIPPED, normals_x_left=True, official_framing="lotus",
)  # fmt: skip
LOTUS_G = Family(
    "lotus-g", "Lotus-G (He et al., ICLR 2025)", Start.NOISE, Sampler.ONE_STEP, None,
    timestep=999.0, class_vector=_ANNOTATE, samples_encoding=True, depth_range=DepthRange.CHANNELS_CLIPPED,
    normal_range=NormalRange.CLIPPED, normals_x_left=True, official_framing="lotus",
)  # fmt: skip
GENPERCEPT = Family(
    "genpercept", "GenPercept (Xu et al., ICLR 2025)", Start.NONE, Sampler.ONE_STEP, None, timestep=1.0, gain=-1.0,
)  # fmt: skip

FAMILIES: dict[str, Family] = {
    family.name: family for family in (DEPTHFM, DEPTHMASTER, FIFFDEPTH, MARIGOLD, E2E_FT, LOTUS_D, LOTUS_G, GENPERCEPT)
}


def family_named(name: str) -> Family:
    """The family of that name.

    Raises:
        CheckpointError: There is none.
    """
    if name not in FAMILIES:
        raise CheckpointError(f"model family '{name}' is unknown; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]
