"""Networks with some residual blocks left out: what a distilled student keeps of its teacher."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from leadline.errors import CheckpointError
from leadline.models.layers import ResidualBlock


class Shortcut(nn.Module):
    """What is left of a residual block without its convolutions: the input, or its 1 × 1 convolution where widths change.

    Args:
        block: The block in whose place it stands.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.conv_shortcut = block.conv_shortcut

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(N, C, h, w) → (N, out, h, w); the timestep has no say."""
        out: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return out


def drop(root: nn.Module, names: Iterable[str]) -> None:
    """Leave the residual blocks ``names`` (published names below ``root``) out of a network, in place.

    Raises:
        CheckpointError: There is no such block, or it is something else.
    """
    for name in names:
        parent, _, child = name.rpartition(".")
        try:
            block = root.get_submodule(name)
        except AttributeError:
            raise CheckpointError(f"the network has no block '{name}' to leave out") from None
        if not isinstance(block, ResidualBlock):
            raise CheckpointError(f"'{name}' is no residual block; only these can be left out")
        setattr(root.get_submodule(parent), child, Shortcut(block))
