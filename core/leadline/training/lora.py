"""Low-rank adapters in a network's attention, through peft (Hu et al., 2021): DepthFM's Table 7 compares them with whole training."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import nn

from leadline.errors import InputError
from leadline.extras import require

Network = TypeVar("Network", bound=nn.Module)

#: The layers that get one: the projections of every attention. The paper names a rank, 8, and no layers.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def add_adapters(network: nn.Module, rank: int) -> None:
    """Put adapters of ``rank`` beside the attention's projections; all else no longer trains. The output stays at first.

    Raises:
        InputError: peft is missing, the rank is no whole number above 0, or the network has no attention.
    """
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InputError(f"model.lora is a rank, a whole number from 1 on, not '{rank}'")
    require("peft", "or leave model.lora out to train the whole network")
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415  (an optional package)

    if not any(name.endswith(TARGETS) for name, _ in network.named_modules()):
        raise InputError("model.lora: the network has no attention to adapt")
    network.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)), network)


def merged(network: Network) -> Network:
    """A copy with the adapters added to the weights they stand beside, layers and names as before; itself if it has none."""
    if not any(hasattr(module, "get_base_layer") for module in network.modules()):
        return network
    whole = copy.deepcopy(network)
    adapted: list[tuple[str, Any]] = [(name, m) for name, m in whole.named_modules() if hasattr(m, "get_base_layer")]
    for name, layer in adapted:
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(whole.get_submodule(parent), own, layer.get_base_layer())
    return whole
