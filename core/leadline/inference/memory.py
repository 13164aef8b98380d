"""Memory budgets: how many members run at once so that a process stays below a given size."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor, nn

from leadline.errors import InputError
from leadline.inference.tuned import MEMORY
from leadline.models import Codec, DepthModel
from leadline.models.convolution import room_bytes

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def parse_bytes(text: str | int) -> int:
    """Bytes of "4GB", "1.5 GiB", "800MB", or of a number of bytes.

    >>> parse_bytes("1.5GB")
    1500000000
    """
    matched = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", str(text))
    if matched is None or matched[2].lower() not in _UNITS or matched[1].count(".") > 1 or matched[1] == ".":
        raise InputError(f"memory '{text}' is not a size; write for example 4GB or 800MB")
    return int(float(matched[1]) * _UNITS[matched[2].lower()])


@dataclass(frozen=True)
class MemoryBudget:
    """What a process may take, and what this model takes of it.

    The widest moment is the first residual block of the decoder's last stage: its input and its normalised input with
    C_1 channels, and its output with C_0, at full resolution (C: the codec's ``block_out_channels``). The network's own
    activations are 25 C_0 channels (C_0: the network's first width) on the latent grid.

    Attributes:
        total_bytes: The budget.
        resident_bytes: Weights and libraries.
        pixel_bytes: Activations for each pixel of one member.
    """

    total_bytes: int
    resident_bytes: int
    pixel_bytes: float

    @classmethod
    def of(cls, total_bytes: int, model: DepthModel, codec: Codec, *others: nn.Module) -> MemoryBudget:
        """For a model in its final precision; ``others`` are modules whose weights stay in memory, too."""
        first, second = (list(codec.vae.config["block_out_channels"]) * 2)[:2]
        network = 25 * model.spec.unet["block_out_channels"][0] / codec.factor**2
        itemsize = model.prompt.element_size()
        on_cpu = model.prompt.device.type == "cpu"
        activations = max(2 * second + first, network) * itemsize * (MEMORY.margin if on_cpu else MEMORY.gpu_margin)
        weights = weight_bytes(model, codec, *others) + room_bytes(model, codec)
        return cls(
            total_bytes, weights + (MEMORY.libraries_bytes if on_cpu else MEMORY.gpu_libraries_bytes), activations
        )

    def at_once(self, height: int, width: int, members: int) -> int:
        """Members to run together, at most ``members``, for images of ``height`` × ``width``.

        Raises:
            InputError: Not even one fits.
        """
        each = height * width * self.pixel_bytes
        maps = 3 * members * height * width * 4  # the maps of all members, and what is made of them
        fitting = int((self.total_bytes - self.resident_bytes - maps) // each)
        if fitting < 1:
            needed = (self.resident_bytes + maps + each) / 1e9
            raise InputError(
                f"{width}×{height} with {members} member(s) takes about {needed:.1f} GB, the memory budget is "
                f"{self.total_bytes / 1e9:.1f} GB; allow more, or use a smaller size"
            )
        return min(fitting, members)


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of all parameters and buffers, shared ones counted once."""
    seen: dict[int, int] = {}
    for module in modules:
        tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
        seen |= {tensor.data_ptr(): tensor.nbytes for tensor in tensors}
    return sum(seen.values())
