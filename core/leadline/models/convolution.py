"""A 3×3 convolution in float32 on a CPU, done in the way that is fastest for the size of its input.

* Few pixels and many channels: one product of matrices, of the pixels' windows and the filters as they lie in the file. PyTorch's
  kernel first lays the filters out anew, which takes longer than the products: four times as long at 1280 channels and 8×8 pixels.
* Many tiles: :mod:`leadline.models.winograd`.
* Between, and for what neither suits: PyTorch's kernel.

None keeps a second copy of the filters.
"""

from __future__ import annotations

from torch import Tensor, addmm, nn
from torch.nn.functional import conv2d, interpolate, unfold

from leadline.models.tuned import CONVOLUTION
from leadline.models.winograd import TILE, Winograd

_PLAIN, _ENLARGING = Winograd(), Winograd(enlarge=True)


class SizedConvolution(nn.Module):
    """The same function as a 3×3 ``Conv2d`` with stride 1 and padding 1.

    Args:
        conv: The convolution; its tensors are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.transforms = worth_transforming(conv)
        self._few = conv.weight.numel() >= CONVOLUTION.least_weights

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, h, w) → (N, out, h, w)."""
        count, _, height, width = images.shape
        if self._few and count * height * width <= CONVOLUTION.most_pixels:
            return _one_product(images, self.weight, self.bias)
        if self.transforms and _tiles(images) >= CONVOLUTION.least_tiles:
            return _PLAIN(images, self.weight, self.bias)
        return conv2d(images, self.weight, self.bias, padding=1)


class Enlargement(nn.Module):
    """The same function as a :class:`~leadline.models.layers.Doubling`.

    Args:
        conv: Its convolution.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = SizedConvolution(conv)
        self.transforms = worth_transforming(conv, enlarge=True)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(N, C, h, w) → (N, out, 2h, 2w), or of ``size``."""
        doubled = (2 * x.shape[-2], 2 * x.shape[-1])
        if self.transforms and size in (None, doubled) and _tiles(x) >= CONVOLUTION.least_tiles:
            return _ENLARGING(x, self.conv.weight, self.conv.bias)
        out: Tensor = self.conv(interpolate(x, doubled if size is None else size, mode="nearest"))
        return out


def room_bytes(*networks: nn.Module) -> int:
    """What a thread keeps for the transformed filters of these networks: as much as the largest layer takes."""
    largest = 0
    for module in (module for network in networks for module in network.modules()):
        if isinstance(module, SizedConvolution | Enlargement) and module.transforms:
            way, conv = (_ENLARGING, module.conv) if isinstance(module, Enlargement) else (_PLAIN, module)
            largest = max(largest, way.filter_bytes(conv.weight))
    return largest


def suits(conv: nn.Module) -> bool:
    """Whether ``conv`` is a 3×3 convolution that :class:`SizedConvolution` can replace, and would ever do in a way of its own."""
    if not isinstance(conv, nn.Conv2d) or (conv.kernel_size, conv.stride, conv.padding) != ((3, 3), (1, 1), (1, 1)):
        return False
    if conv.groups != 1 or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        return False
    return worth_transforming(conv) or conv.weight.numel() >= CONVOLUTION.least_weights


def worth_transforming(conv: nn.Conv2d, enlarge: bool = False) -> bool:
    """Whether Winograd's way is ever faster for ``conv``, behind an enlargement or not."""
    least = CONVOLUTION.least_channels_enlarged if enlarge else CONVOLUTION.least_channels
    return (
        min(conv.in_channels, conv.out_channels) >= least
        and (_ENLARGING if enlarge else _PLAIN).filter_bytes(conv.weight) <= CONVOLUTION.most_filter_bytes
    )


def _tiles(images: Tensor) -> int:
    count, _, height, width = images.shape
    return count * -(-height // TILE) * -(-width // TILE)


def _one_product(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, C, h, w) → (N, out, h, w), channels last."""
    count, _, height, width = images.shape
    windows = unfold(images, 3, padding=1).transpose(1, 2).reshape(count * height * width, -1)
    filters = weight.view(len(weight), -1).T
    products = windows @ filters if bias is None else addmm(bias, windows, filters)
    return products.view(count, height, width, -1).permute(0, 3, 1, 2)
