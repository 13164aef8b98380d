"""How each paper turns a map into a number: fit space, resolution, crop, range caps, mask.

Numbers made under different protocols are not comparable; every summary carries its protocol in full.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leadline.depth.spaces import MAX_DEPTH_M, Space
from leadline.errors import InputError
from leadline.evaluation.boundaries import Holes
from leadline.types import BoolMap

Crop = Callable[[int, int], tuple[slice, slice]]


def _garg(height: int, width: int) -> tuple[slice, slice]:
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    return rows, slice(int(0.03594771 * width), int(0.96405229 * width))


def _eigen(height: int, width: int) -> tuple[slice, slice]:
    rows = slice(int(0.3324324 * height), int(0.91351351 * height))
    return rows, slice(int(0.0359477 * width), int(0.96405229 * width))


def _nyu_border(height: int, width: int) -> tuple[slice, slice]:
    """Rows 45 to 470 and columns 41 to 600 of 640×480, in proportion at other sizes."""
    rows = slice(round(45 / 480 * height), round(471 / 480 * height))
    return rows, slice(round(41 / 640 * width), round(601 / 640 * width))


def _everything(height: int, width: int) -> tuple[slice, slice]:
    return slice(0, height), slice(0, width)


#: What part of the ground truth is scored, as (rows, columns) of an H×W map.
CROPS: dict[str, Crop] = {"none": _everything, "garg": _garg, "eigen": _eigen, "nyu": _nyu_border}


def crop_mask(name: str, height: int, width: int) -> BoolMap:
    """Bool (H, W), True inside the named crop."""
    if name not in CROPS:
        raise InputError(f"there is no crop {name!r}; there are: {', '.join(CROPS)}")
    mask = np.zeros((height, width), dtype=bool)
    mask[CROPS[name](height, width)] = True
    return mask


@dataclass(frozen=True)
class Rules:
    """What a data set's evaluation fixes, whatever the model.

    Attributes:
        min_depth_m, max_depth_m: Ground truth outside is not scored, aligned predictions are clipped to it.
        crop: Key of :data:`CROPS`, applied to the ground truth after the benchmark crop.
        size: Long edge at which full-size models process the images; 0 is native.
        fit_max_side: Long edge above which the fit (not the score) uses every k-th column; ``None`` uses all.
        mask_alone: The data set's own mask decides, without the range: Marigold's DIODE. The range still clips.
    """

    min_depth_m: float = 1e-3
    max_depth_m: float = float("inf")
    crop: str = "none"
    size: int = 0
    fit_max_side: int | None = None
    mask_alone: bool = False


def described_rules(rules: Rules) -> dict[str, Any]:
    """Plain values for a summary; no limit is ``None``."""
    return {name: (value if value != float("inf") else None) for name, value in asdict(rules).items()}


_MARIGOLD = "Marigold (Ke et al., CVPR 2024) and its public evaluation configuration"

#: Rules by data set. The five zero-shot sets follow Marigold's public configuration, which DepthFM, DepthMaster and
#: FiffDepth all say they follow; the KITTI images are also cut to the 1216×352 benchmark crop by the reader.
RULES: dict[str, Rules] = {
    "nyu": Rules(1e-3, 10.0, "nyu"),
    "kitti": Rules(1e-5, 80.0, "eigen"),
    "eth3d": Rules(1e-5, size=756, fit_max_side=1024),
    "scannet": Rules(1e-3, 10.0),
    "diode": Rules(0.6, 350.0, size=640, mask_alone=True),
    "hypersim": Rules(1e-5, 65.0),
    "vkitti2": Rules(1e-5, 80.0, "eigen"),
    "kitti-completion": Rules(1e-4),
    "nyu-completion": Rules(1e-4),
    "omnidc": Rules(1e-4),
    "ibims": Rules(1e-3, 50.0),
}


@dataclass(frozen=True)
class Protocol:
    """How a prediction is fitted to ground truth.

    Attributes:
        name: What ``--protocol`` calls it.
        space: Where scale and shift are fitted; ``None`` is the prediction's own space.
        aligned: False scores metric predictions as they are.
        robust: Tukey biweight instead of least squares.
        downscale_fit: Whether the data set's ``fit_max_side`` applies.
        fits_positive: Whether pixels whose prediction is not above 0 are left out of the fit (they are scored).
        holes: How boundary F1 treats pixels without ground truth.
        max_fitted_depth_m: Cap on aligned depth before the data set's own cap; where a fit in disparity crosses zero,
            this is the depth it becomes.
        paper_size: Whether the data set's processing size applies (otherwise the model's default size does).
        steps, ensemble: The paper's sampling; ``None`` is the model's default. Options of the command go first.
        source: Where the rules come from, and where we deviate.
    """

    name: str
    space: Space | None
    source: str
    aligned: bool = True
    robust: bool = False
    downscale_fit: bool = True
    fits_positive: bool = False
    holes: Holes = Holes.LEFT_OUT
    max_fitted_depth_m: float = MAX_DEPTH_M
    paper_size: bool = True
    steps: int | None = None
    ensemble: int | None = None

    def describe(self) -> dict[str, Any]:
        """For the summary: plain values only."""
        space = self.space.value if self.space else "the prediction's own"
        return {**asdict(self), "space": space, "holes": self.holes.value}


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            "own", None, "least squares in the space in which the model speaks; model's default size", paper_size=False
        ),
        Protocol("robust", None, "as `own`, with Tukey biweight IRLS", robust=True, paper_size=False),
        Protocol("metric", None, "no fit: predictions are in metres", aligned=False, paper_size=False),
        Protocol("marigold", Space.DEPTH, f"least squares in depth, ensemble 10: {_MARIGOLD}", ensemble=10),
        Protocol(
            "depthfm",
            Space.LOG_DEPTH,
            f"least squares in log depth, 4 Euler steps, ensemble 10 (Gui et al., 2024); data sets as in {_MARIGOLD}",
            steps=4,
            ensemble=10,
        ),
        Protocol(
            "depthmaster",
            Space.SQRT_DISPARITY,
            "least squares in square-root disparity (Song et al., 2025, public evaluation code); fitted disparity is at "
            "least 1e-3. Negative fitted square roots become the far cap here; the public code squares them, which folds "
            f"them back to near. Data sets as in {_MARIGOLD}",
            downscale_fit=False,
            fits_positive=True,
            holes=Holes.MASKED,
            max_fitted_depth_m=1e3,
            ensemble=1,
        ),
        Protocol(
            "fiffdepth",
            Space.DEPTH,
            f"least squares in depth; the paper says it uses Marigold's protocol (Bai et al., 2024): {_MARIGOLD}; "
            "boundary F1 as in Depth Pro's code",
            holes=Holes.UNMASKED,
            ensemble=1,
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The preset called ``name``."""
    if name not in PROTOCOLS:
        raise InputError(f"there is no protocol {name!r}; there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
