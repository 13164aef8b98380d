"""One knob after the other: steps × ensemble × noise level × size, on one data set, as a table and a plot."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leadline.errors import InputError
from leadline.evaluation import results
from leadline.evaluation.comparable import MARK
from leadline.evaluation.datasets import Dataset
from leadline.evaluation.papers import DEPTHFM, IMAGES, NFE_DELTA1, NOISE_DELTA1
from leadline.evaluation.protocols import RULES, Protocol
from leadline.evaluation.report import new_figure
from leadline.evaluation.results import Row
from leadline.evaluation.runner import Entry, Predictor, Sampling, run
from leadline.evaluation.tables import SHOWN, Table, label, show

SWEEP_FORMAT = "leadline-eval-sweep/1"

#: Knob → what a plot calls it.
KNOBS = {
    "steps": "function evaluations (NFE)",
    "ensemble": "ensemble size",
    "noise": "noise level (thousandths)",
    "size": "long edge (px)",
}


@dataclass(frozen=True)
class Grid:
    """Values to try of each knob; an empty one keeps the default.

    Attributes:
        steps: Euler steps. ensemble: members. size: processing long edge.
        noise: DepthFM's noise augmentation in thousandths of the cosine schedule; the model is loaded anew for each.
    """

    steps: tuple[int, ...] = ()
    ensemble: tuple[int, ...] = ()
    noise: tuple[int, ...] = ()
    size: tuple[int, ...] = ()

    def points(self) -> Iterator[dict[str, int]]:
        """Every combination, as knob → value; knobs without values are left out."""
        used = {name: values for name in KNOBS if (values := getattr(self, name))}
        if not used:
            raise InputError("a sweep needs at least one of --steps, --ensemble, --noise, --size with values")
        for combination in itertools.product(*used.values()):
            yield dict(zip(used, combination, strict=True))


#: Gives a model for a name and a noise level (``None``: the checkpoint's own); called once per name and level.
MakeModel = Callable[[str, int | None], Predictor]


def load_at_noise(
    name: str, noising_step: int, device: str = "auto", precision: str = "auto", vae: str | None = None
) -> Predictor:
    """A DepthFM whose start latent is noised more or less than its checkpoint says (thousandths, below 1000)."""
    from leadline.checkpoints.resolve import resolve  # noqa: PLC0415
    from leadline.inference.estimator import DepthEstimator  # noqa: PLC0415

    bundle = resolve(name, vae=vae)
    if not bundle.model.stochastic:
        raise InputError(f"{bundle.spec.name or name} starts from no noise; --noise is for DepthFM")
    if not 0 <= noising_step < 1000:
        raise InputError(f"noise level {noising_step} is not in 0 to 999 thousandths")
    bundle.model.spec = replace(bundle.spec, noising_step=noising_step)
    return DepthEstimator(bundle, device=device, precision=precision)


def sweep(
    names: Sequence[str],
    make_model: MakeModel,
    dataset: Dataset,
    protocol: Protocol,
    sampling: Sampling,
    grid: Grid,
    out: Path,
    fresh: bool = False,
    on_outcome: Callable[[str, int, int, Row], None] | None = None,
) -> dict[str, Any]:
    """Run every model at every point of the grid; each point resumes on its own. Writes ``out``/sweep.json.

    Returns:
        ``{"format", "dataset", "protocol", "environment", "points": [{"model", steps, ensemble, …, "means", …}]}``
    """
    points = []
    report: dict[str, Any] = {"format": SWEEP_FORMAT}
    for name in names:
        loaded: dict[int | None, Predictor] = {}
        for point in grid.points():
            noise = point.get("noise")
            if noise not in loaded:
                loaded = {noise: make_model(name, noise)}  # one at a time: full-size weights are gigabytes
            model = loaded[noise]
            chosen = replace(sampling, **{knob: value for knob, value in point.items() if knob != "noise"})
            title = "-".join([model.name, *(f"{knob}{value}" for knob, value in point.items())])
            settings = {} if noise is None else {"noising_step": noise}
            summary = run(
                [Entry(title, model, settings=settings)], dataset, protocol, chosen, out / title, fresh, on_outcome
            )
            entry = summary["models"][title]
            points.append(
                {
                    "model": model.name,
                    **point,
                    **{
                        key: entry[key]
                        for key in ("means", "counts", "seconds_per_image", "scored", "failed", "weights", "sampling")
                    },
                }
            )
            report |= {key: summary[key] for key in ("dataset", "protocol", "rules", "environment")} | {
                "points": points
            }
            results.write_json(out / "sweep.json", report)
    return report


def sweep_table(report: Mapping[str, Any], source: str | None = None) -> Table:
    """One row per point; the paper's own rows below where it swept the same knob on the same data, marked like any others.

    ``source`` leaves out the rows of other tables.
    """
    points = report["points"]
    knobs = [knob for knob in KNOBS if any(knob in point for point in points)]
    columns = [metric for metric in SHOWN if any(metric in point["means"] for point in points)]
    rows = [
        [
            point["model"],
            *(str(point.get(knob, "")) for knob in knobs),
            *(show(metric, point["means"].get(metric)) for metric in columns),
            f"{point['seconds_per_image']:.3f}" if point["seconds_per_image"] is not None else "–",
        ]
        for point in points
    ]
    notes = []
    swept = [(f"{DEPTHFM}, Table 3", method, "NFE", values) for method, values in NFE_DELTA1.items()]
    swept.append((f"{DEPTHFM}, Table 9", "DepthFM", "noise level", NOISE_DELTA1))
    for table, method, knob, values in swept if report["dataset"]["name"] == "nyu" else ():
        if source in (None, table):
            found = _differences(report, method, knob)
            mark = f"; {MARK} {'; '.join(found)}" if found else ""
            notes.append(f"{method}, δ1 by {knob} ({table}): {_listing(values)}{mark}")
    return Table(["", *knobs, *(label(c) for c in columns), "s/image"], rows, notes)


def _differences(report: Mapping[str, Any], method: str, knob: str) -> list[str]:
    """How the paper's sweep on NYU was made differently from this one."""
    fit, reasons = "marigold" if method == "Marigold" else "depthfm", []
    if report["protocol"]["name"] != fit:
        reasons.append(f"ours is by protocol {report['protocol']['name']}, the paper's by {fit}")
    images = {point["scored"] for point in report["points"]}
    if images != {IMAGES["nyu"]}:
        reasons.append(f"ours is over {', '.join(map(str, sorted(images)))} images, the paper's over {IMAGES['nyu']}")
    if knob == "NFE" and {point["sampling"]["ensemble"] for point in report["points"]} != {10}:
        reasons.append("the paper's ensemble is 10")
    if any(point["sampling"]["size"] != RULES["nyu"].size for point in report["points"]):
        reasons.append("ours is not processed at native resolution")
    if knob == "noise level":
        reasons.append("the paper states neither steps nor ensemble")
    return reasons


def _listing(values: Mapping[int, float]) -> str:
    return ", ".join(f"{key}: {show('delta1', value)}" for key, value in values.items())


def draw_sweep(report: Mapping[str, Any], path: Path, metric: str = "delta1") -> Path:
    """A PNG of ``metric`` over the first swept knob, one line per model and value of the second (DepthFM's Figure 16)."""
    points = report["points"]
    knobs = [knob for knob in KNOBS if any(knob in point for point in points)]
    along, others = knobs[0], knobs[1:]
    figure = new_figure(6.4, 4.2)
    axis = figure.subplots()
    lines: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        if metric in point["means"]:
            name = ", ".join([point["model"], *(f"{knob} {point[knob]}" for knob in others)])
            lines.setdefault(name, []).append((point[along], point["means"][metric]))
    for name, line in lines.items():
        axis.plot(*zip(*sorted(line), strict=True), marker="o", label=name)
    axis.set_xlabel(KNOBS[along])
    axis.set_ylabel(label(metric))
    axis.set_xticks(sorted({point[along] for point in points}))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    axis.set_title(f"{report['dataset']['title']}, protocol {report['protocol']['name']}", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.write_bytes(buffer.getvalue())
    return path
