"""The report of a run: one HTML page with its pictures inside, and the pictures as PNG files beside it."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leadline.errors import LeadlineError
from leadline.evaluation.cases import Case, load_case
from leadline.evaluation.results import SCORED, read_rows
from leadline.evaluation.tables import Table, show, summary_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Error maps are black at 0 and saturate at this relative error.
ERROR_TOP = 0.5
#: More images than this are drawn as a curve rather than as named bars.
_NAMED_BARS = 24


def new_figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise LeadlineError("the report needs matplotlib; pip install 'leadline[eval]'") from error
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def draw_cases(title: str, sections: Mapping[str, list[tuple[Case, str]]]) -> Figure:
    """Rows of image, aligned prediction, ground truth and relative error; one section after the other.

    Prediction and ground truth of a row share their colours, from the 2nd to the 98th percentile of what was measured.
    """
    from matplotlib import colormaps  # noqa: PLC0415

    lines = [(section, case, caption) for section, cases in sections.items() for case, caption in cases]
    aspect = np.mean([case.rgb.shape[0] / case.rgb.shape[1] for _, case, _ in lines])
    figure = new_figure(11.0, 0.6 + len(lines) * (2.55 * float(aspect) + 0.28))
    figure.suptitle(title, fontsize=11)
    depth_colours, error_colours = (colormaps[name].with_extremes(bad="0.85") for name in ("Spectral", "inferno"))
    axes = figure.subplots(len(lines), 4, squeeze=False)
    for row, (section, case, caption) in zip(axes, lines, strict=True):
        known = case.measured_m > 0
        values = case.measured_m[known] if known.any() else case.predicted_m
        low, high = (float(v) for v in np.percentile(values, [2, 98]))
        high = max(high, low * 1.001 + 1e-9)
        truth = np.where(known, case.measured_m, np.nan)
        row[0].imshow(case.rgb)
        row[0].set_title(f"{section}: {case.name}", fontsize=7, loc="left")
        shown = row[1].imshow(case.predicted_m, vmin=low, vmax=high, cmap=depth_colours)
        row[1].set_title(caption, fontsize=7, loc="left")
        if known.any():
            row[2].imshow(truth, vmin=low, vmax=high, cmap=depth_colours)
            errors = row[3].imshow(case.error, vmin=0, vmax=ERROR_TOP, cmap=error_colours)
            row[2].set_title("ground truth", fontsize=7, loc="left")
            row[3].set_title("|p - g| / g", fontsize=7, loc="left")
            figure.colorbar(errors, ax=row[3], shrink=0.85, extend="max").ax.tick_params(labelsize=6)
        bar = figure.colorbar(shown, ax=row[2], shrink=0.85)
        bar.ax.tick_params(labelsize=6)
        bar.set_label("m" if known.any() else "far →", fontsize=6)
        for axis in row:
            axis.set_axis_off()
    return figure


def draw_errors(errors: Mapping[str, Mapping[str, float]]) -> Figure:
    """AbsRel of every image for every model: bars by name for few images, sorted curves for many."""
    names = sorted({name for rows in errors.values() for name in rows})
    named = len(names) <= _NAMED_BARS
    figure = new_figure(11.0, 1.1 + 0.16 * len(names) * max(len(errors), 2) if named else 3.6)
    axis = figure.subplots()
    if named:
        thickness = 0.8 / max(len(errors), 1)
        for number, (model, rows) in enumerate(errors.items()):
            places = np.arange(len(names)) + (number - (len(errors) - 1) / 2) * thickness
            axis.barh(places, [rows.get(name, np.nan) for name in names], height=thickness, label=model)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel("AbsRel ↓")
    else:
        for model, rows in errors.items():
            axis.plot(np.linspace(0, 100, len(rows)), sorted(rows.values()), label=model)
        axis.set_xlabel("% of the images")
        axis.set_ylabel("AbsRel ↓")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def write_report(out: Path, summary: Mapping[str, Any]) -> Path:
    """Write ``out``/report.html and its PNG files from what a run left in ``out``; returns the page."""
    pictures: list[tuple[str, str, str]] = []
    errors: dict[str, dict[str, float]] = {}
    for label, model in summary["models"].items():
        rows = read_rows(out / label / "images.csv")
        found = {
            name: row.scores["abs_rel"]
            for name, row in rows.items()
            if row.status == SCORED and "abs_rel" in row.scores
        }
        if found:
            errors[label] = {name: value for name, value in found.items() if value is not None}
        sections = {}
        for section in ("best", "worst"):
            cases = [
                (case, _caption(rows[name].scores))
                for name in model[section]
                if (case := load_case(out / label / "cases", name))
            ]
            if cases:
                sections[section] = cases
        if sections:
            figure = draw_cases(f"{label} on {summary['dataset']['title']}: best and worst images", sections)
            pictures.append(
                (f"Best and worst: {label}", f"cases-{label}.png", _save(figure, out / f"cases-{label}.png"))
            )
    if errors:
        pictures.insert(0, ("Error of every image", "errors.png", _save(draw_errors(errors), out / "errors.png")))
    page = out / "report.html"
    page.write_text(_page(summary, summary_table([summary], papers=True), pictures), encoding="utf-8")
    return page


def _caption(scores: Mapping[str, float | None]) -> str:
    wanted = [m for m in ("abs_rel", "delta1", "boundary_recall", "pair_accuracy") if scores.get(m) is not None]
    names = {"abs_rel": "AbsRel", "delta1": "δ1", "boundary_recall": "R", "pair_accuracy": "Acc"}
    return "prediction: " + ", ".join(f"{names[m]} {show(m, scores[m])}" for m in wanted)


def _save(figure: Figure, path: Path) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.write_bytes(buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode("ascii")


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem; color: #1c2430; background: #fff }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .25rem .7rem; text-align: right }
th { border-bottom: 2px solid #1c2430 } td:first-child, th:first-child { text-align: left } tr:nth-child(even) td { background: #f3f5f8 }
img { max-width: 100%; height: auto } dt { font-weight: 600 } dd { margin: 0 0 .4rem 0 } .scroll { overflow-x: auto }
"""


def _page(summary: Mapping[str, Any], table: Table, pictures: list[tuple[str, str, str]]) -> str:
    dataset, protocol = summary["dataset"], summary["protocol"]
    facts = {
        "Data": f"{dataset['title']}, {dataset['images']} images",
        "Protocol": f"{protocol['name']}: fit in {protocol['space']}. {protocol['source']}",
        "Scored region": ", ".join(f"{k} {v}" for k, v in summary["rules"].items() if v is not None),
        "Made": f"{summary['made']} with " + ", ".join(f"{k} {v}" for k, v in summary["environment"].items() if v),
    }
    for label, model in summary["models"].items():
        sampling = ", ".join(f"{k} {v}" for k, v in model["sampling"].items())
        facts[label] = (
            f"{model['name']}, weights {model['weights'][:12] or 'none'}, {model['precision']} on {', '.join(model['devices'])}, {sampling}"
        )
    problems = [(label, p) for label, model in summary["models"].items() for p in model["problems"]]
    parts = [
        f"<h1>{html.escape(dataset['title'])}</h1>",
        f"<div class=scroll>{_html_table(table)}</div>",
        "".join(f"<p>{html.escape(note)}</p>" for note in table.notes),
        "<dl>"
        + "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(str(v))}</dd>" for k, v in facts.items())
        + "</dl>",
        *(
            f"<h2>{html.escape(title)}</h2><img alt='{html.escape(title)}' src='data:image/png;base64,{data}'>"
            for title, _, data in pictures
        ),
    ]
    if problems:
        listed = "".join(
            f"<li>{html.escape(label)}: {html.escape(p['name'])}: {html.escape(p['status'])}, {html.escape(p['message'])}</li>"
            for label, p in problems
        )
        parts.append(f"<h2>Not scored</h2><ul>{listed}</ul>")
    body = "\n".join(parts)
    return f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(dataset['title'])}</title><style>{_STYLE}</style><body>{body}</body></html>\n"


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<table><tr>{head}</tr>{body}</table>"
