"""torch.compile for the stages of a prediction: one graph for each picture size and batch bucket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from leadline.inference.tuned import COMPILING

#: "off"; "graphs": compiled, on CUDA replayed as CUDA graphs; "kernels": compiled, without CUDA graphs.
CompileMode = Literal["off", "graphs", "kernels"]


Stage = Callable[..., Tensor]


def bucket(count: int) -> int:
    """The batch whose graph runs ``count`` members.

    >>> [bucket(count) for count in (1, 3, 5, 8, 9, 17)]
    [1, 3, 5, 8, 16, 24]
    """
    return count if count <= COMPILING.exact else -(-count // COMPILING.exact) * COMPILING.exact


def largest_bucket(limit: int) -> int:
    """The largest batch with a graph of its own that is at most ``limit``: filling up then never passes the limit.

    >>> [largest_bucket(limit) for limit in (5, 10, 36)]
    [5, 8, 32]
    """
    return limit if limit <= COMPILING.exact else limit // COMPILING.exact * COMPILING.exact


class CompiledStage:
    """A function of a batch (N, ...) and of things that do not depend on N, compiled once for each shape.

    Batches are filled up to a :func:`bucket` with copies of their last member, whose results are dropped.

    Args:
        stage: The function; its first argument and its result are batches.
        replayed: Whether results live in memory that the next call overwrites (CUDA graphs), so that they are copied out.
        backend, mode: As torch.compile takes them.
    """

    def __init__(self, stage: Stage, replayed: bool, backend: str = "inductor", mode: str | None = None) -> None:
        self._compiled = torch.compile(stage, dynamic=False, backend=backend, mode=mode)
        self._replayed = replayed

    def __call__(self, batch: Tensor, *others: Any) -> Tensor:
        count = len(batch)
        missing = bucket(count) - count
        if missing:
            batch = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])])
        if self._replayed:
            torch.compiler.cudagraph_mark_step_begin()
        result: Tensor = self._compiled(batch, *others)[:count]
        return result.clone(memory_format=torch.preserve_format) if self._replayed else result


def compile_stages(
    stages: list[tuple[nn.Module, str]], device: torch.device, mode: CompileMode, backend: str = "inductor"
) -> None:
    """Replace methods, given as (owner, name), by compiled ones that fit ``device``."""
    torch._dynamo.config.recompile_limit = max(COMPILING.graphs, torch._dynamo.config.recompile_limit)
    replayed = mode == "graphs" and device.type == "cuda"
    for owner, name in stages:
        stage = CompiledStage(getattr(owner, name), replayed, backend, "reduce-overhead" if replayed else None)
        setattr(owner, name, stage)
