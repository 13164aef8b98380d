"""Watching scores while a training runs: their history on disk, the best weights, and when to stop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from leadline.errors import InputError
from leadline.files.whole import whole_file

HISTORY_NAME, BEST_NAME = "history.jsonl", "best.pt"


@dataclass
class Watch:
    """Every evaluation of one training, as lines of JSON, with the weights of the best.

    Attributes:
        folder: Where ``history.jsonl`` and ``best.pt`` are.
        name: Which score is watched, where lower is better; empty: the first.
        patience: Evaluations without a new best after which the training stops; 0: never.
        from_step: The step from which it goes on; what is on disk of later steps is forgotten.
    """

    folder: Path
    name: str = ""
    patience: int = 0
    from_step: int = 0
    best: float = field(default=float("inf"), init=False)
    best_step: int = field(default=0, init=False)
    since_best: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        path = self.folder / HISTORY_NAME
        lines = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.from_step]
        if lines:
            self._write(kept)
        for line in kept:
            scores = json.loads(line)
            self._count(int(scores.pop("step")), scores)

    def add(self, step: int, scores: Mapping[str, float], weights: Mapping[str, Tensor]) -> None:
        """Note the scores of a step, and keep the weights if they are the best so far."""
        path = self.folder / HISTORY_NAME
        lines = path.read_text().splitlines() if path.exists() else []
        if self._count(step, scores):
            with whole_file(self.folder / BEST_NAME) as unfinished:
                torch.save({"step": step, "weights": dict(weights)}, unfinished.path)
        self._write([*lines, json.dumps({"step": step, **scores})])

    @property
    def wants_to_stop(self) -> bool:
        """Whether the watched score has not improved for long enough."""
        return 0 < self.patience <= self.since_best

    def best_weights(self) -> dict[str, Tensor] | None:
        """Those of the best step; None if nothing was scored, or they were overwritten by a step that is forgotten."""
        path = self.folder / BEST_NAME
        if not path.exists() or self.best_step == 0:
            return None
        kept = torch.load(path, map_location="cpu", weights_only=True)
        return dict(kept["weights"]) if kept["step"] == self.best_step else None

    def _count(self, step: int, scores: Mapping[str, float]) -> bool:
        name = self.name or next(iter(scores))
        if name not in scores:
            raise InputError(f"the evaluation gives no score '{name}' to watch; it gives {', '.join(scores)}")
        better = scores[name] < self.best
        if better:
            self.best, self.best_step, self.since_best = scores[name], step, 0
        else:
            self.since_best += 1
        return better

    def _write(self, lines: list[str]) -> None:
        with whole_file(self.folder / HISTORY_NAME) as unfinished:
            unfinished.path.write_text("".join(f"{line}\n" for line in lines))
