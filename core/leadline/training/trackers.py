"""Where the numbers and pictures of a training go: TensorBoard, Weights & Biases, MLflow and others, through Accelerate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from leadline.errors import InputError
from leadline.extras import require

LOGS = "logs"
#: Those of Accelerate that are taken, each by the name of its module.
KNOWN = ("tensorboard", "wandb", "mlflow", "comet_ml", "clearml", "aim", "dvclive")


def check_trackers(names: Sequence[str]) -> None:
    """Complain about unknown or missing trackers before anything is computed.

    Raises:
        InputError: With the known names, or with the command that installs the package.
    """
    for name in names:
        if name not in KNOWN:
            raise InputError(f"trainer.trackers knows no '{name}'; known are {', '.join(KNOWN)}")
        require(name, "or leave it out of trainer.trackers")


def for_accelerator(names: Sequence[str], folder: Path) -> list[Any]:
    """What ``Accelerator(log_with=...)`` gets: TensorBoard's files go to ``folder``/logs, all others choose themselves."""
    return [TensorBoardTracker(LOGS, str(folder)) if name == "tensorboard" else name for name in names]


def begin(accelerator: Accelerator, names: Sequence[str], folder: Path, settings: Mapping[str, Any]) -> None:
    """Open the trackers, with the training's settings where a service shows them beside the curves."""
    plain = {key: value for key, value in settings.items() if isinstance(value, bool | int | float | str)}
    about = {"wandb": {"dir": str(folder), "name": folder.name}, "mlflow": {"run_name": folder.name}}
    accelerator.init_trackers(
        "leadline",
        config=plain if set(names) - {"tensorboard"} else None,
        init_kwargs={name: about[name] for name in names if name in about},
    )


def log_pictures(accelerator: Accelerator, pictures: Mapping[str, Tensor], step: int) -> None:
    """Pictures (3, H, W) in [0, 1], by name, to every tracker that shows pictures."""
    rows = {name: one.clamp(0, 1).float().cpu().permute(1, 2, 0)[None].numpy() for name, one in pictures.items()}
    for tracker in accelerator.trackers:
        if hasattr(tracker, "log_images"):
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images(rows, step=step, **layout)
