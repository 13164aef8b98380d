"""What the three papers, and the released configurations, say of their trainings, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from leadline.training.sources import PixelSource

#: Marigold's filtered lists, which all three papers follow.
PICTURES = {"hypersim": 53_884, "vkitti2": 20_147}
#: Lines that these lists have.
LISTED = {"hypersim": 53_885, "vkitti2": 20_148}


def _nothing(_: Any) -> list[tuple[bool, str]]:
    return []


@dataclass(frozen=True)
class Paper:
    """Of one recipe; None or empty where the paper says nothing.

    Attributes:
        pictures: Data sets with their numbers of pictures.
        shares: Of the batches.
        sizes: (H, W) of each data set.
        batch, steps, lr, decay, ema: Of the training.
        loss: Settings of the recipe's losses.
        needs_unlabelled: Whether half of every batch has no depth.
        of_source, of_config: (whether it holds, what it means if it does not) of everything else.
    """

    pictures: Mapping[str, int] = field(default_factory=lambda: dict(PICTURES))
    shares: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    batch: int | None = None
    steps: int | None = None
    lr: float | None = None
    decay: str | None = None
    ema: float | None = None
    loss: Mapping[str, Any] = field(default_factory=dict)
    needs_unlabelled: bool = False
    of_source: Callable[[PixelSource], list[tuple[bool, str]]] = _nothing
    of_config: Callable[[Mapping[str, Any]], list[tuple[bool, str]]] = _nothing


def _depthfm_source(source: PixelSource) -> list[tuple[bool, str]]:
    whole = all(one.depth_range_m is not None for one in source.normalisations)
    measured = whole or (bool(source.depth_ranges_m) and None not in source.depth_ranges_m)
    return [
        (
            measured,
            "every picture has its own quantiles, in the paper each data set has (depth_range_m of each set; not published)",
        ),
        (source.augmentation.colour == 0, "colours are changed, which the paper does not say"),
        (
            all(math.isinf(one.clip) for one in source.normalisations),
            "depth far beyond the quantiles is cut off; the paper cuts nothing (data.clip: .inf, with depth_range_m)",
        ),
    ]


def _depthfm_config(config: Mapping[str, Any]) -> list[tuple[bool, str]]:
    step = config.get("model", {}).get("noising_step", 400)
    return [
        (step == 400, f"noise augmentation starts at t_s = {step / 1000}, in the paper 0.4"),
        (
            config.get("teacher") is not None,
            "no pseudo-labels of a discriminative model: this is DepthFM-I, not DepthFM-ID",
        ),
        (
            config.get("teacher") is None or config.get("data", {}).get("unlabelled_ratio", 1.0) == 0.1,
            "the ratio of pseudo-labels (data.unlabelled_ratio) is not the paper's k = 0.1",
        ),
    ]


def _depthmaster_source(source: PixelSource) -> list[tuple[bool, str]]:
    plain = source.augmentation.colour == 0 and source.augmentation.min_scale == 1.0
    return [
        (plain, "crops or colours are changed; the released code only mirrors"),
        (source.masks_sky, "the sky is trained as the far end; the released code leaves it out"),
    ]


def _stage1_config(config: Mapping[str, Any]) -> list[tuple[bool, str]]:
    encoder = config.get("encoder")
    return [
        (encoder is not None, "no external encoder: feature alignment is left out"),
        (encoder != "codec", "features are aligned with the codec's own, in the paper with DINOv2's"),
    ]


def _completion_config(config: Mapping[str, Any]) -> list[tuple[bool, str]]:
    steps = config["trainer"]["steps"]
    said = f"steps is {steps}, in the paper 10000 on Hypersim and then 8000 on NYU"
    return [(steps in (10_000, 8_000), said)]


_DEPTHMASTER = {"hypersim": (480, 640), "vkitti2": (352, 1216)}

PAPERS: dict[str, Paper] = {
    "depthfm": Paper(
        sizes={"hypersim": (384, 512), "vkitti2": (384, 512)}, batch=128, lr=3e-5, decay="constant", ema=0.999,
        loss={"start_share": 0.0, "squared": True}, of_source=_depthfm_source, of_config=_depthfm_config,
    ),
    "depthmaster-stage1": Paper(
        shares={"hypersim": 0.9, "vkitti2": 0.1}, sizes=_DEPTHMASTER, batch=32, steps=20_000, lr=3e-5, decay="exponential",
        loss={"weight_fa": 1.0, "kl": "paper"}, of_source=_depthmaster_source, of_config=_stage1_config,
    ),
    "depthmaster-stage2": Paper(
        shares={"hypersim": 0.9, "vkitti2": 0.1}, sizes=_DEPTHMASTER, batch=32, steps=10_000, lr=3e-6, decay="exponential",
        loss={"weight_gradient": 1e-3, "delta": 0.2, "identity_start": False}, of_source=_depthmaster_source,
    ),
    "fiffdepth": Paper(
        batch=32, steps=10_000, loss={"weight_mae": 1.0, "weight_gm": 0.5, "weight_keep": 0.2, "gamma": 0.5, "keep_share": 1.0},
        needs_unlabelled=True,
    ),
    "completion": Paper(pictures={"hypersim": PICTURES["hypersim"]}, of_config=_completion_config),
}  # fmt: skip
