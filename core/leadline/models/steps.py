"""Step tables: what a solver's timesteps add to the residual blocks, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Rows that a table is made for, and grows by.
ROOM = 64


class StepTable(nn.Module):
    """One residual block's timestep additions: rows kept for known timesteps, computed for others."""

    def __init__(self, project: nn.Linear) -> None:
        super().__init__()
        self.project = project
        self.rows: Tensor | None = None
        self.used = 0

    @torch.inference_mode(False)
    @torch.no_grad()
    def append(self, embeddings: Tensor) -> None:
        """Rows (S, C) for time embeddings (S, D), behind those already there.

        There is room for :data:`ROOM` rows from the start, so that compiled graphs see one shape, whatever the steps.
        """
        new = self.project(functional.silu(embeddings.clone()))
        needed = self.used + len(new)
        if self.rows is None or needed > len(self.rows):
            roomy = new.new_zeros(-(-needed // ROOM) * ROOM, new.shape[1])
            if self.rows is not None:
                roomy[: self.used] = self.rows[: self.used]
            self.rows = roomy
        self.rows[self.used : needed] = new
        self.used = needed

    def forward(self, step: Tensor) -> Tensor:
        """A row (1, C) for its index (1,), or additions (N, C) for embeddings (N, D)."""
        if step.is_floating_point():
            return self.project(functional.silu(step))
        assert self.rows is not None
        return self.rows[step]


class StepTables:
    """The tables of all residual blocks of a network, and which timestep has which row.

    Rows are only ever added, so that a solver in another thread keeps reading the right ones.
    """

    def __init__(self, residual_blocks: Sequence[Any]) -> None:
        self.tables = []
        for block in residual_blocks:
            block.time_emb_proj = StepTable(block.time_emb_proj)
            block.skip_time_act = True  # the tables hold what comes behind the activation
            self.tables.append(block.time_emb_proj)
        self._rows: dict[float, Tensor] = {}
        self._lock = Lock()

    def rows(self, times: Sequence[float], embed: Callable[[list[float]], Tensor]) -> list[Tensor]:
        """The row index (1,) of each of ``times``; ``embed`` gives time embeddings (S, D) of those not yet known."""
        with self._lock:
            unknown = [t for t in times if t not in self._rows]
            if unknown:
                embeddings = embed(unknown)
                for table in self.tables:
                    table.append(embeddings)
                for t in unknown:
                    self._rows[t] = torch.tensor([len(self._rows)], device=embeddings.device)
            return [self._rows[t] for t in times]
