"""Convolutions in 8-bit integers, after training, by OpenVINO: for processors without bf16, or with VNNI.

Every 3×3 convolution gets its inputs in 256 steps between the least and the largest number that it met in a few rendered pictures,
and each of its filters in 127 steps. Everything else stays float32. Here the steps are rounded to in float32; OpenVINO makes
integers of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from leadline.checkpoints.catalog import MINI_FOLDER
from leadline.files.image import read_image
from leadline.inference.framing import as_tensor
from leadline.inference.tuned import EIGHT_BITS

#: Rendered pictures side by side.
PICTURES = MINI_FOLDER / "calibration.jpg"


class EightBitConvolution(nn.Conv2d):
    """The same function as ``conv`` of inputs between two numbers, but for rounding; what lies outside is cut off.

    Args:
        conv: A convolution.
        least, largest: Of its inputs.
    """

    def __init__(self, conv: nn.Conv2d, least: float, largest: float) -> None:
        super().__init__(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, device="meta"  # type: ignore[arg-type]
        )  # fmt: skip
        self.weight, self.bias = conv.weight, conv.bias
        least, largest = min(least, 0.0), max(largest, 1e-6)  # zero, which pads, has a step of its own
        self._step = (largest - least) / 255
        self._zero = round(-least / self._step)
        filters = conv.weight.detach().abs().amax((1, 2, 3)).clamp_min(1e-8)
        self._filter_steps = filters / EIGHT_BITS.filter_steps
        self._filter_zeros = torch.zeros(len(filters), dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, out, h', w')."""
        x = torch.fake_quantize_per_tensor_affine(x, self._step, self._zero, 0, 255)
        weight = torch.fake_quantize_per_channel_affine(
            self.weight, self._filter_steps, self._filter_zeros, 0, -127, 127
        )
        return conv2d(x, weight, self.bias, self.stride, self.padding)


def to_eight_bits(parts: Iterable[nn.Module], run: Callable[[Tensor], Any]) -> int:
    """Replace the 3×3 convolutions of ``parts`` in place; returns how many.

    Args:
        parts: Modules. Convolutions that ``run`` does not call stay as they are.
        run: What uses them; it gets example pictures, uint8 (3, h, w).
    """
    met: dict[nn.Conv2d, tuple[float, float]] = {}

    def watch(conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        least, largest = met.get(conv, (float("inf"), -float("inf")))
        met[conv] = min(least, float(inputs[0].min())), max(largest, float(inputs[0].max()))

    places = [(owner, name, conv) for part in parts for owner in part.modules() for name, conv in _convolutions(owner)]
    hooks = [conv.register_forward_pre_hook(watch) for conv in {conv for _, _, conv in places}]
    try:
        for picture in _pictures():
            run(picture)
    finally:
        for hook in hooks:
            hook.remove()
    replaced = {conv: EightBitConvolution(conv, *ends) for conv, ends in met.items()}
    for owner, name, conv in places:
        if conv in replaced:
            setattr(owner, name, replaced[conv])
    return len(replaced)


def _convolutions(owner: nn.Module) -> list[tuple[str, nn.Conv2d]]:
    return [
        (name, child)
        for name, child in owner.named_children()
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3)
    ]


@cache
def _pictures() -> list[Tensor]:
    """Examples, uint8 (3, h, w)."""
    whole = np.asarray(read_image(PICTURES))
    count = whole.shape[1] // EIGHT_BITS.picture_width
    return [as_tensor(np.ascontiguousarray(one)) for one in np.split(whole, count, axis=1)]
