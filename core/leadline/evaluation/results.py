"""What a run writes: one CSV line per image, one JSON summary for all models."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leadline.errors import InputError
from leadline.evaluation.metrics import METRICS, Scores, mean_scores
from leadline.files.whole import whole_file, write_bytes

FORMAT = "leadline-eval/1"

SCORED, UNSCORED, FAILED = "scored", "unscored", "failed"

_FACTS = (
    "name",
    "group",
    "status",
    "message",
    "width",
    "height",
    "pixels",
    "pairs",
    "seconds",
    "scale",
    "shift",
    "fit",
    "metric_truth",
)
COLUMNS = (*_FACTS, *METRICS)


@dataclass(frozen=True)
class Row:
    """One image of one run.

    Attributes:
        name, group: Of the sample.
        status: ``"scored"``, ``"unscored"`` (nothing to compare with) or ``"failed"`` (a file or the model).
        message: Why it was not scored.
        width, height: Of the image.
        pixels: Valid pixels the fit saw. ``pairs``: point pairs.
        seconds: The model's time for this image.
        scale, shift, fit: The alignment and its status.
        metric_truth: Whether the ground truth is in metres.
        scores: Metric name → value.
    """

    name: str
    group: str = ""
    status: str = SCORED
    message: str = ""
    width: int = 0
    height: int = 0
    pixels: int = 0
    pairs: int = 0
    seconds: float = 0.0
    scale: float | None = None
    shift: float | None = None
    fit: str = ""
    metric_truth: bool = True
    scores: Scores = field(default_factory=dict)

    def to_cells(self) -> dict[str, str]:
        """For the CSV; undefined metrics are empty cells."""
        cells = {name: getattr(self, name) for name in _FACTS} | self.scores
        return {name: _cell(cells.get(name)) for name in COLUMNS}

    @classmethod
    def from_cells(cls, cells: Mapping[str, str | None]) -> Row:
        """The inverse of :meth:`to_cells`."""

        def number(name: str) -> float | None:
            return float(cells[name] or "") if cells.get(name) else None

        def text(name: str) -> str:
            return cells.get(name) or ""

        def whole(name: str) -> int:
            return int(number(name) or 0)

        return cls(
            name=text("name"),
            group=text("group"),
            status=text("status"),
            message=text("message"),
            width=whole("width"),
            height=whole("height"),
            pixels=whole("pixels"),
            pairs=whole("pairs"),
            seconds=number("seconds") or 0.0,
            scale=number("scale"),
            shift=number("shift"),
            fit=text("fit"),
            metric_truth=text("metric_truth") != "no",
            scores={name: value for name in METRICS if (value := number(name)) is not None},
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else " ".join(str(value).split())


def append_rows(path: Path, rows: list[Row]) -> None:
    """Add lines to a CSV (with its header if it is new or empty) and flush them to disk, so that a killed run can go on."""
    new = not path.exists() or path.stat().st_size == 0
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(row.to_cells() for row in rows)
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> dict[str, Row]:
    """Rows by name; of a name that occurs twice the later one. A half-written last line is dropped."""
    if not path.exists():
        return {}
    rows = {}
    with open(path, newline="", encoding="utf-8") as file:
        for cells in csv.DictReader(file):
            try:
                row = Row.from_cells(cells)
            except ValueError:
                continue
            if row.status in (SCORED, UNSCORED, FAILED) and None not in (cells.get(c) for c in COLUMNS):
                rows[row.name] = row
    return rows


def rewrite_rows(path: Path, rows: list[Row]) -> None:
    """Replace a CSV in one step."""
    with whole_file(path) as unfinished:
        append_rows(unfinished.path, rows)


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Means, counts and problems of one model's rows.

    Means are over images, each metric over the images that define it (``counts`` says how many); ``pair_accuracy`` is
    over pairs. ``means_metric_truth`` repeats the means without images whose ground truth is not in metres, if any.
    """
    scored = [row for row in rows if row.status == SCORED]
    means, counts = _means(scored)
    summary: dict[str, Any] = {
        "images": len(rows),
        SCORED: len(scored),
        UNSCORED: sum(row.status == UNSCORED for row in rows),
        FAILED: sum(row.status == FAILED for row in rows),
        "means": means,
        "counts": counts,
        "inverted_fits": sum(row.scale is not None and row.scale < 0 for row in scored),
        "degenerate_fits": sum(row.fit not in ("", "ok") for row in scored),
        "seconds_per_image": sum(row.seconds for row in scored) / len(scored) if scored else None,
        "problems": [{"name": r.name, "status": r.status, "message": r.message} for r in rows if r.status != SCORED],
    }
    if any(not row.metric_truth for row in scored):
        summary["means_metric_truth"] = _means([row for row in scored if row.metric_truth])[0]
    groups = sorted({row.group for row in scored})
    if len(groups) > 1:
        summary["groups"] = {group: _means([row for row in scored if row.group == group])[0] for group in groups}
    return summary


def _means(rows: list[Row]) -> tuple[dict[str, float], dict[str, int]]:
    means, counts = mean_scores(row.scores for row in rows)
    pairs = sum(row.pairs for row in rows)
    if pairs:
        means["pair_accuracy"] = sum((row.scores.get("pair_accuracy") or 0.0) * row.pairs for row in rows) / pairs
        counts["pair_accuracy"] = pairs
    return {name: means[name] for name in METRICS if name in means}, {
        name: counts[name] for name in METRICS if name in counts
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write in one step, keys in their order, readable by people."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_summary(path: str | Path) -> dict[str, Any]:
    """A summary that a run wrote (the file, or the folder it lies in).

    Raises:
        InputError: It is not there, or is not such a summary.
    """
    path = Path(path)
    path = path / "summary.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a summary ({error}); give the summary.json of `leadline eval --out`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a summary of `leadline eval` (format {FORMAT})")
    return content
