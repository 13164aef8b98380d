"""FSDP: every process keeps a share of the weights, when Accelerate's configuration asks for it.

Accelerate 1.15 turns FSDP on for accelerators alone and passes it over in silence between CPU processes. So its configuration
says whether and how the weights are shared out, and PyTorch's ``fully_shard`` does it, on every device alike. What goes to
disk are whole tensors, the same as without: a training may go on with another number of processes, or without FSDP.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import FullyShardedDataParallelPlugin, disable_fsdp_ram_efficient_loading
from torch import Tensor, distributed, nn

from leadline.errors import InputError


def is_asked_for(accelerator: Accelerator, optimiser: str, precision: str) -> bool:
    """Whether Accelerate is set up for FSDP.

    Raises:
        InputError: It is set up for something else that shares weights out, or for FSDP in a way that does not work here.
    """
    if accelerator.distributed_type in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise InputError(
            f"this trainer shares weights out by FSDP, not by {accelerator.distributed_type.value}; launch with --use_fsdp "
            "--fsdp_version 2"
        )
    if not _said("ACCELERATE_USE_FSDP"):
        return False
    if os.environ.get("FSDP_VERSION") != "2":
        raise InputError("this trainer knows the second version of FSDP; launch with --use_fsdp --fsdp_version 2")
    if not distributed.is_initialized():
        raise InputError("FSDP shares weights out between processes; start them with `accelerate launch`")
    if _said("FSDP_OFFLOAD_PARAMS"):
        raise InputError(
            "this trainer leaves no weights of FSDP in the computer's memory; set fsdp_offload_params: false"
        )
    if optimiser != "adamw":
        raise InputError(f"with FSDP the optimiser is 'adamw'; '{optimiser}' needs whole matrices")
    if precision == "fp16":
        raise InputError("with FSDP the precision is 'bf16' or 'no', not 'fp16'")
    disable_fsdp_ram_efficient_loading()  # with it, transformers would load weights in the first process alone
    return True


def _said(name: str) -> bool:
    return os.environ.get(name, "false").lower() == "true"


def share_out(recipe: nn.Module, layers: Sequence[nn.Module], device: torch.device) -> None:
    """Leave each process its share of what trains, along every tensor's first dimension. The first process's values count.

    Frozen parameters stay whole. ``layers``, whose outputs come from their ``forward`` alone, are made whole one at a time
    while they compute; what is outside of them for the whole step.

    Raises:
        InputError: There are no such layers, or PyTorch is too old.
    """
    if not layers:
        raise InputError("this recipe's network is small and cannot be shared out; launch without FSDP")
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: PLC0415  (since 2.6)
    except ImportError:
        raise InputError(f"FSDP needs PyTorch 2.7 or newer, this is {torch.__version__}") from None
    recipe.to(device)
    for tensor in [*recipe.parameters(), *recipe.buffers()]:
        distributed.broadcast(tensor.data, 0)
    again = bool(FullyShardedDataParallelPlugin().reshard_after_forward)
    frozen = {parameter for parameter in recipe.parameters() if not parameter.requires_grad}
    for layer in layers:
        fully_shard(layer, reshard_after_forward=again, ignored_params=frozen)
    fully_shard(recipe, ignored_params=frozen)


def travel(recipe: nn.Module, now: bool) -> None:
    """Whether the next way back sends gradients to the processes that keep them."""
    shared: Any = recipe
    if hasattr(shared, "set_requires_gradient_sync"):
        shared.set_requires_gradient_sync(now)


def make_whole(recipe: nn.Module) -> None:
    """Give every process all weights, until :func:`make_shares`; layers then compute without the other processes.

    Does nothing to weights that are not shared out; to be called in all processes.
    """
    for module in _shared(recipe):
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()


def make_shares(recipe: nn.Module) -> None:
    """Forget what :func:`make_whole` gathered. What was changed in between is lost."""
    again = bool(FullyShardedDataParallelPlugin().reshard_after_forward)
    for module in _shared(recipe):
        module.set_reshard_after_forward(again and module is not recipe, recurse=False)
        module.reshard()


@contextmanager
def whole_weights(recipe: nn.Module) -> Iterator[None]:
    """Inside, every process has all weights. To be entered by all processes."""
    make_whole(recipe)
    try:
        yield
    finally:
        make_shares(recipe)


def _shared(recipe: nn.Module) -> list[Any]:
    return [module for module in recipe.modules() if hasattr(module, "unshard")]


def gathered(value: Any, keep: bool) -> Any:
    """``value`` (tensors in dictionaries and lists) with whole tensors in the place of shares.

    To be called in all processes; those that do not ``keep`` them get None for each tensor that was shared out.
    """
    if isinstance(value, Mapping):
        return {name: gathered(one, keep) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [gathered(one, keep) for one in value]
    if isinstance(value, Tensor) and hasattr(value, "full_tensor"):
        whole = value.full_tensor()
        return whole.cpu() if keep else None
    return value


def share_of(whole: Tensor, own: Tensor) -> Tensor:
    """What a process keeps of ``whole``, shared out as ``own`` is; itself where that is whole."""
    shared: Any = own
    if not hasattr(shared, "device_mesh"):
        return whole
    from torch.distributed.tensor import distribute_tensor  # noqa: PLC0415  (since 2.5)

    return distribute_tensor(whole.to(own.device), shared.device_mesh, shared.placements)


def share_of_moments(state: dict[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """An optimiser's whole state (``state_dict``) shared out as its ``parameters`` are, which come in its groups' order."""
    shares = {
        index: {
            name: share_of(value, parameters[index]) if getattr(value, "ndim", 0) else value
            for name, value in kept.items()
        }
        for index, kept in state["state"].items()
    }
    return {**state, "state": shares}
