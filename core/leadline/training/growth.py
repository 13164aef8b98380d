"""Networks that start as others are, though deeper or at another timestep, until training makes use of the difference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from leadline.models.unet import DepthUNet

_LAYER = re.compile(
    r"net\.(?P<way>down|up)_blocks\.(?P<block>\d+)\.(?P<kind>resnets|attentions)\.(?P<layer>\d+)\.(?P<rest>.+)"
)
#: Where a layer adds to its input. At zero it adds nothing.
_RESIDUAL_ENDS = ("conv2.weight", "conv2.bias", "proj_out.weight", "proj_out.bias")


def given_name(name: str, own: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """The tensor of a shallower network that tensor ``name`` of a deeper one starts from; None in an added layer.

    A level's added residual layers come last on the way down. On the way up they come second: the first meets the same
    values as before, as its skip is the last layer's copy, and the last is the one that meets the level above.

    Args:
        name: As in ``DepthUNet.state_dict()``.
        own, given: Configs of the deeper and the shallower ``UNet2DConditionModel``, of equally many levels.
    """
    match = _LAYER.fullmatch(name)
    levels = len(own["block_out_channels"])
    if match is None or levels != len(given["block_out_channels"]):
        return name
    block, layer, up = int(match["block"]), int(match["layer"]), match["way"] == "up"
    level = levels - 1 - block if up else block
    before = _layers(given, level)
    added = _layers(own, level) - before
    if match["kind"] == "attentions" and "Attn" not in given[f"{match['way']}_block_types"][block]:
        return None
    if added <= 0:
        return name
    if up:
        if 1 <= layer <= added:
            return None
        layer -= added if layer > added else 0
    elif layer >= before:
        return None
    return f"net.{match['way']}_blocks.{block}.{match['kind']}.{layer}.{match['rest']}"


@torch.no_grad()
def pass_on(name: str, tensor: Tensor) -> None:
    """Set one freshly initialised tensor of an added layer so that the layer's output is its input.

    Where a skip is concatenated behind the input, the input alone is passed on.
    """
    if name.endswith((*_RESIDUAL_ENDS, "conv_shortcut.bias")):
        tensor.zero_()
    elif name.endswith("conv_shortcut.weight"):
        tensor.zero_()
        channels = torch.arange(tensor.shape[0])
        tensor[channels, channels] = 1.0


@torch.no_grad()
def keep_time(unet: DepthUNet, before: float, after: float) -> None:
    """Make a network at timestep ``after`` what it was at ``before``: FiffDepth works at 0, DepthMaster at 1.

    The timestep enters through one linear layer of its sines and cosines; their difference goes into its bias.
    """
    embedding = unet.net.time_embedding.linear_1
    then, now = unet.net.time_proj(torch.tensor([before, after], device=embedding.weight.device)).to(embedding.weight)
    assert embedding.bias is not None
    embedding.bias.add_(embedding.weight @ (then - now))


def _layers(config: Mapping[str, Any], level: int) -> int:
    layers = config["layers_per_block"]
    return int(layers if isinstance(layers, int) else layers[level])
