"""A picture of the loss curves of several trainings, from their TensorBoard logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def plot_curves(folders: Sequence[Path], out: Path) -> None:
    """Draw the loss of each training folder against its steps into the picture ``out``."""
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
        axis.plot([event.step for event in scalars], [event.value for event in scalars], linewidth=1.0)
        axis.set_title(folder.name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
    axes[0][0].set_ylabel("loss", fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    pyplot.close(figure)
