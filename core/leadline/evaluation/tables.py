"""Tables of results, as aligned text or Markdown, with the papers' rows beside."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rich.box
import rich.table
from rich.console import Console
from rich.text import Text

from leadline.evaluation.comparable import MARK, differences
from leadline.evaluation.metrics import METRICS
from leadline.evaluation.papers import published_on

#: Columns a table shows if anybody has them, in this order.
SHOWN = (
    "abs_rel", "delta1", "rmse", "silog", "boundary_f1", "boundary_recall", "edge_precision", "edge_recall",
    "pair_accuracy", "error_ratio", "ause", "calibration_error", "coverage_1s", "coverage_2s",
)  # fmt: skip

_PERCENT = {
    "delta1",
    "delta2",
    "delta3",
    "pair_accuracy",
    "coverage_1s",
    "coverage_2s",
    "edge_precision",
    "edge_recall",
}


@dataclass(frozen=True)
class Table:
    """Cells as text; ``notes`` stand below."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)

    def text(self) -> str:
        """Aligned columns: the first to the left, the others to the right."""
        grid = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for index, name in enumerate(self.header):
            grid.add_column(Text(name), justify="right" if index else "left", no_wrap=True)
        for row in self.rows:
            grid.add_row(*map(Text, row))
        paper = io.StringIO()
        Console(file=paper, width=10_000, color_system=None).print(grid)
        return "\n".join([*(line.rstrip() for line in paper.getvalue().splitlines()), *self.notes])

    def markdown(self) -> str:
        """A Markdown table, notes as a list below."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return body + ("\n\n" + "\n".join(f"- {note}" for note in self.notes) if self.notes else "")


def show(metric: str, value: float | None) -> str:
    """A value as a table shows it: shares of pixels in percent, everything else with three digits."""
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" if metric in _PERCENT else f"{value:.3f}"


def label(metric: str) -> str:
    """Column header: name, unit, direction."""
    about = METRICS[metric]
    direction = "" if metric in ("coverage_1s", "coverage_2s") else (" ↑" if about.higher_is_better else " ↓")
    if metric == "error_ratio":
        direction = " ↑"  # errors should be where the model says so
    return f"{about.label}{f' [{about.unit}]' if about.unit in ('m', '1/km') else ''}{direction}"


def summary_table(
    summaries: Sequence[Mapping[str, Any]],
    papers: bool = False,
    names: Sequence[str] = (),
    source: str | None = None,
    metrics: Sequence[str] = SHOWN,
) -> Table:
    """One row per model of each summary; with ``papers``, the published rows of the same data sets below.

    A published row that was made by another rule than any row above it carries :data:`~leadline.evaluation.comparable.MARK`,
    and a note says which rule.

    Args:
        summaries: As :func:`leadline.evaluation.results.read_summary` gives them.
        papers: Add rows from :mod:`leadline.evaluation.papers`.
        names: What to call each summary, put before its models; empty for none.
        source: Only this paper's table.
        metrics: Columns, as far as anybody has them.
    """
    lines: list[tuple[str, str, Mapping[str, float], str]] = []
    for number, summary in enumerate(summaries):
        before = f"{names[number]}: " if names else ""
        for name, model in summary["models"].items():
            images = f"{model['scored']}/{model['images']}"
            lines.append((f"{before}{name}", images, model["means"], _seconds(model)))
    sets = list(dict.fromkeys(summary["dataset"]["name"] for summary in summaries))
    sources: list[str] = []
    reasons: dict[str, dict[str, list[str]]] = {}  # source → reason → methods
    published = [row for dataset in sets for row in published_on(dataset, source)] if papers else []
    published = [row for row in published if set(row.scores) & set(metrics)]
    for row in published:
        if row.source not in sources:
            sources.append(row.source)
        of_the_set = [summary for summary in summaries if summary["dataset"]["name"] == row.dataset]
        found = {reason for s in of_the_set for model in s["models"].values() for reason in differences(row, s, model)}
        for reason in sorted(found):
            reasons.setdefault(row.source, {}).setdefault(reason, []).append(row.method)
        mark = f" [{sources.index(row.source) + 1}]{' *' if row.note else ''}{' ' + MARK if found else ''}"
        lines.append((f"{row.method}{mark}", "paper", row.scores, "–"))
    columns = [metric for metric in metrics if any(metric in scores for _, _, scores, _ in lines)]
    rows = [
        [name, images, *(show(c, scores.get(c)) for c in columns), seconds] for name, images, scores, seconds in lines
    ]
    notes = [*_differences(summaries), *_warnings(summaries)]
    notes += [f"[{i + 1}] {name}" for i, name in enumerate(sources)]
    notes += [f"* {row.method}: {row.note}" for row in published if row.note]
    for i, name in enumerate(sources):
        rows_of = [row.method for row in published if row.source == name]
        for reason, methods in reasons.get(name, {}).items():
            who = "" if len(methods) == len(rows_of) else f" ({', '.join(methods)})"
            notes.append(f"{MARK} [{i + 1}]{who}: {reason}")
    return Table(["", "images", *(label(c) for c in columns), "s/image"], rows, notes)


def _seconds(model: Mapping[str, Any]) -> str:
    seconds = model.get("seconds_per_image")
    return "–" if seconds is None else f"{seconds:.2f}"


def _differences(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What makes the rows of several summaries incomparable."""
    notes = []
    for what, part, key in (
        ("data sets", "dataset", "name"),
        ("numbers of images", "dataset", "images"),
        ("protocols", "protocol", "name"),
    ):
        values = list(dict.fromkeys(str(summary[part][key]) for summary in summaries))
        if len(values) > 1:
            notes.append(f"Not comparable: different {what} ({', '.join(values)})")
    return notes


def _warnings(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    notes = []
    for summary in summaries:
        if summary["dataset"].get("left_out"):
            notes.append(f"{summary['dataset']['left_out']} images without ground truth in the data set are left out")
        for name, model in summary["models"].items():
            if model.get("space_differs"):
                notes.append(
                    f"{name} speaks {model['space']}, protocol {summary['protocol']['name']} fits in "
                    f"{summary['protocol']['space']}: the raw map is fitted there as it is"
                )
            if model["failed"] or model["unscored"]:
                notes.append(
                    f"{name}: {model['failed']} failed, {model['unscored']} without ground truth; see summary.json"
                )
            if model["family"] == "baseline":
                continue
            if model["inverted_fits"]:
                notes.append(f"{name}: in {model['inverted_fits']} images the best fit turns near and far around")
            if model["degenerate_fits"]:
                notes.append(
                    f"{name}: in {model['degenerate_fits']} images scale could not be told (see 'fit' in images.csv)"
                )
            if "means_metric_truth" in model and "abs_rel" in model["means_metric_truth"]:
                rest = model["means_metric_truth"]
                notes.append(
                    f"{name} on images with ground truth in metres only: AbsRel {show('abs_rel', rest['abs_rel'])}, "
                    f"δ1 {show('delta1', rest['delta1'])}"
                )
    return notes
