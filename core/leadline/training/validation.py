"""Scores while a training runs, by the evaluation's own protocols on its own data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadline.errors import InputError
from leadline.evaluation.datasets import Dataset, open_dataset
from leadline.evaluation.protocols import Protocol, get_protocol
from leadline.evaluation.results import FAILED, summarise
from leadline.evaluation.runner import Sampling, evaluate_frames
from leadline.inference.estimator import DepthEstimator
from leadline.training.base import DepthRecipe
from leadline.training.config import take

#: The first is what is watched unless ``trainer.watch`` names another; only this one falls as a model gets better.
FIRST = "abs_rel"


@dataclass(frozen=True)
class Validation:
    """What the section ``validation`` asks for.

    Attributes:
        dataset: Frames that are not trained on.
        protocol: How predictions are fitted and scored, as ``leadline eval --protocol`` does.
        sampling: Steps, members and size; what is not said is the protocol's, then the model's.
        every: Steps of the training between validations; 0: with every checkpoint.
    """

    dataset: Dataset
    protocol: Protocol
    sampling: Sampling
    every: int

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Validation:
        """From a configuration; the data set's frames are looked up at once.

        Raises:
            InputError: Something is unknown, or there is no such data set.
        """
        known: dict[str, Any] = {
            "dataset": "pairs", "root": None, "split": None, "limit": None, "protocol": "own", "every": 0,
            "steps": None, "ensemble": None, "size": None, "batch": 4,
        }  # fmt: skip
        said = take(section, "validation", known)
        if said["root"] is None:
            raise InputError("validation.root is missing; name the data set's folder or archive")
        frames = open_dataset(said["dataset"], Path(said["root"]), said["split"], said["limit"])
        sampling = Sampling(said["steps"], said["ensemble"], said["size"], batch=said["batch"])
        return cls(frames, get_protocol(said["protocol"]), sampling, int(said["every"]))

    def scores(self, recipe: DepthRecipe) -> dict[str, float]:
        """Means over the frames with the recipe's present weights: AbsRel, then whatever else the data set has.

        Raises:
            InputError: A frame could not be scored, or the data set has no depth to compare with.
        """
        device = next(recipe.model.parameters()).device
        model = DepthEstimator(recipe.bundle(), device=str(device))
        options = self.sampling.resolve(model, self.protocol, self.dataset)
        frames = range(len(self.dataset))
        outcomes = evaluate_frames(model, self.dataset, frames, self.protocol, options, self.sampling.batch)
        rows = [outcome.row for outcome in outcomes]
        failed = next((row for row in rows if row.status == FAILED), None)
        if failed is not None:
            raise InputError(f"validation cannot score {failed.name}: {failed.message}")
        means: dict[str, float] = summarise(rows)["means"]
        if FIRST not in means:
            raise InputError(f"validation needs frames with depth; {self.dataset.reader.title} gives no AbsRel")
        return {FIRST: means[FIRST], **means}
