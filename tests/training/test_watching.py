"""Watching scores: history, best weights, stopping, and going on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from leadline.errors import InputError
from leadline.training.sources import Batch, LatentSource
from leadline.training.trainer import Recipe, TrainerConfig, train
from leadline.training.watching import Watch


class Counting(Recipe):
    """One weight that grows by about the learning rate in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": -self.weight.sum()}

    def export(self, folder: Path) -> None:
        torch.save(self.weight.detach().clone(), folder / "weight.pt")


SOURCE = LatentSource([{"image": torch.zeros(4, 1, 1, 1)}], [1.0])


def settings(**changes: object) -> TrainerConfig:
    base = {"steps": 10, "batch_size": 1, "lr": 1.0, "warmup": 0, "decay": "constant", "save_every": 0, "log_every": 0}
    return TrainerConfig(**{**base, "evaluate_every": 1, **changes})  # type: ignore[arg-type]


def silent(line: str) -> None:
    """No progress."""


def test_it_stops_when_scores_stop_improving_and_exports_the_best(tmp_path: Path) -> None:
    recipe = Counting()
    asked: list[int] = []

    def evaluate(step: int) -> dict[str, float]:
        asked.append(step)
        return {"error": abs(recipe.weight.item() - 3.0)}

    train(recipe, SOURCE, settings(patience=2, export="best"), tmp_path, silent, evaluate)
    assert asked == [1, 2, 3, 4, 5]  # best at 3, then twice worse
    assert torch.load(tmp_path / "weight.pt").item() == pytest.approx(3.0, rel=1e-3)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 5
    again = Counting()
    train(again, SOURCE, settings(patience=2, export="best"), tmp_path, silent, evaluate)  # it stays stopped
    assert len(asked) == 5
    assert again.weight.item() == pytest.approx(3.0, rel=1e-3)


def test_the_last_weights_are_exported_unless_asked(tmp_path: Path) -> None:
    recipe = Counting()
    train(recipe, SOURCE, settings(steps=4), tmp_path, silent, lambda step: {"error": float(step)})
    assert torch.load(tmp_path / "weight.pt").item() == pytest.approx(4.0, rel=1e-3)


def test_history_behind_the_step_gone_on_from_is_forgotten(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    for step, score in ((1, 3.0), (2, 2.0), (3, 1.0)):
        watch.add(step, {"error": score}, {"w": torch.tensor(float(step))})
    resumed = Watch(tmp_path, from_step=2)
    assert (resumed.best, resumed.best_step) == (2.0, 2)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    with pytest.raises(InputError, match="no score 'abs_rel'"):
        Watch(tmp_path, "abs_rel", from_step=2)
