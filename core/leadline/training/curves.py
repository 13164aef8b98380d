"""A picture of the loss curves of several trainings, from their TensorBoard logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from leadline.training.tuned import CURVES


def running_mean(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Means over windows of about a tenth of the values, cut at the ends."""
    half = int(CURVES.window * len(values) / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    last = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def plot_curves(folders: Sequence[Path], out: Path) -> None:
    """Draw the loss of each training folder against its steps, and its running mean, into the picture ``out``."""
    import matplotlib  # noqa: PLC0415  (only here)

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    figure, axes = pyplot.subplots(1, len(folders), figsize=(3.0 * len(folders), 2.6), squeeze=False)
    for axis, folder in zip(axes[0], folders, strict=True):
        events = EventAccumulator(str(folder / "logs"))
        events.Reload()
        scalars = (
            sorted(events.Scalars("loss"), key=lambda event: event.step) if "loss" in events.Tags()["scalars"] else []
        )
        steps, losses = [event.step for event in scalars], [event.value for event in scalars]
        axis.plot(steps, losses, linewidth=0.6, alpha=0.4)
        axis.plot(steps, running_mean(losses), linewidth=1.5, color="C0")
        axis.set_title(folder.name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0][0].set_ylabel("loss", fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
