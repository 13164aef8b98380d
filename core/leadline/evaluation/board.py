"""The stress board: patterns × faults × methods on a folder of pairs, accuracy and calibration, one CSV and one page.

Every finished cell is a line of ``board.csv``; a run that is started again goes on where the last one ended.
"""

from __future__ import annotations

import base64
import csv
import html
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError, LeadlineError
from leadline.evaluation.board_table import markdown
from leadline.evaluation.completion import Complete, affine, scored_where
from leadline.evaluation.datasets import Dataset, Sample
from leadline.evaluation.faults import NO_FAULT, PICTURE_FAULTS, POINT_FAULTS, spoil_picture, spoil_points
from leadline.evaluation.metrics import depth_metrics
from leadline.evaluation.patterns import Measured, draw
from leadline.evaluation.scoring import scored_region
from leadline.evaluation.sparse import FILLS
from leadline.evaluation.uncertainty import ause
from leadline.files.maps import read_map
from leadline.types import FloatMap

#: Patterns of the board, without faults; and those on which every fault is tried.
PATTERNS = (
    "5", "50", "500", "0.03%", "0.1%", "0.7%", "2%", "5%", "half", "sift", "orb", "harris", "sfm", "4-line", "8-line", "16-line",
    "32-line", "64-line", "grid-8", "grid-16", "nearest-50%", "left-half", "holes", "rgbd", "omnidc:2150", "omnidc:300",
    "omnidc:100", "omnidc:noise_0.05", "omnidc:noise_0.10", "omnidc:SIFT", "omnidc:ORB", "omnidc:LiDAR_64", "omnidc:LiDAR_16",
    "omnidc:LiDAR_8", "priorda:2000", "priorda:sift", "priorda:orb", "priorda:LiDAR_16", "priorda:downscale_8",
    "priorda:downscale_16", "priorda:cubic_160",
)  # fmt: skip
FAULTED = ("500", "2%", "16-line", "64-line")
FAULTS = (NO_FAULT, *POINT_FAULTS, *PICTURE_FAULTS)

#: Names of the parts of a picture by depth, and by distance from the nearest point (thirds of the scored pixels).
THIRDS = ("near", "middle", "far")
_ACCURACY = ("rmse", "rmse_share", "mae", "abs_rel")
_CALIBRATION = (
    "coverage_1s", "coverage_2s", *(f"coverage_1s_{part}" for part in THIRDS), *(f"coverage_1s_{part}_from_points" for part in THIRDS),
    "nll", "nll_constant", "ause", "unsure_share",
)  # fmt: skip
KEYS = ("name", "pattern", "fault", "method")
COLUMNS = (*KEYS, "points", "scored", "seconds", "message", *_ACCURACY, *_CALIBRATION)

Row = dict[str, Any]
Run = Callable[[npt.NDArray[np.uint8], DepthPrediction | None, FloatMap], DepthPrediction | FloatMap]
Predict = Callable[[Sample, npt.NDArray[np.uint8]], DepthPrediction]


class Method(NamedTuple):
    """A row of the board: what it needs to be told, and what it does with (image, its map, sparse depth)."""

    predict: Predict | None
    run: Run


def of_model(model: Any, options: Mapping[str, Any]) -> Predict:
    """Maps that a loaded model makes of the image."""
    return lambda _one, image: model.predict(image, **options)


def of_maps(folder: Path, space: str) -> Predict:
    """Maps of any other network: NAME.npy in a folder, affine in ``space``. Faults of the picture do not change them."""

    def predict(one: Sample, image: npt.NDArray[np.uint8]) -> DepthPrediction:
        made = read_map(folder / f"{one.name}.npy", space)
        if made.shape != image.shape[:2]:
            raise InputError(f"{folder / one.name}.npy is {made.shape[1]}x{made.shape[0]} and its image is not")
        return made

    return predict


def methods_of(maps: Mapping[str, Predict], complete: Complete) -> dict[str, Method]:
    """The classical fills, and for every source of maps its scale and shift alone and its completion."""
    found = {name: Method(None, _filled_by(fill)) for name, fill in FILLS.items()}
    for name, predict in maps.items():
        found[f"{name}: scale and shift"] = Method(predict, lambda _i, made, sparse: affine(_given(made), sparse))
        found[f"{name}: completion"] = Method(
            predict, lambda image, made, sparse: complete(image, _given(made), sparse)
        )
    return found


def _filled_by(fill: Callable[[FloatMap], FloatMap]) -> Run:
    return lambda _image, _made, sparse: fill(sparse)


def _given(made: DepthPrediction | None) -> DepthPrediction:
    assert made is not None
    return made


def calibration(
    predicted_m: FloatMap, sigma_m: FloatMap, truth_m: FloatMap, scored: npt.NDArray[np.bool_], sparse_m: FloatMap
) -> dict[str, float]:
    """Coverage (also by thirds of depth and of distance from the nearest point), negative log likelihood per pixel of a
    normal error beside that of the best constant relative sigma, AUSE, and the share of pixels with sigma over half of depth."""
    p, s, t = (a[scored].astype(np.float64) for a in (predicted_m, sigma_m, truth_m))
    s = np.maximum(s, 1e-9)
    error = np.abs(p - t)
    z = error / s
    distance = cv2.distanceTransform((sparse_m <= 0).astype(np.uint8), cv2.DIST_L2, 3)[scored]
    found = {"coverage_1s": float((z <= 1).mean()), "coverage_2s": float((z <= 2).mean())}
    for suffix, numbers in (("", t), ("_from_points", distance.astype(np.float64))):
        parts = np.searchsorted(np.quantile(numbers, [1 / 3, 2 / 3]), numbers)
        for i, part in enumerate(THIRDS):
            if (parts == i).any():
                found[f"coverage_1s_{part}{suffix}"] = float((z[parts == i] <= 1).mean())
    relative = error / np.maximum(p, 1e-6)
    constant = max(float(np.sqrt(np.mean(relative**2))), 1e-9)
    found["nll"] = float(np.mean(0.5 * z**2 + np.log(s)))
    found["nll_constant"] = float(np.mean(0.5 * (relative / constant) ** 2 + np.log(constant * np.maximum(p, 1e-6))))
    ranked = ause(error / t, s / np.maximum(p, 1e-6))
    if ranked is not None:
        found["ause"] = ranked
    found["unsure_share"] = float((s > 0.5 * p).mean())
    return found


def scores(
    made: DepthPrediction | FloatMap, truth_m: FloatMap, scored: npt.NDArray[np.bool_], sparse_m: FloatMap
) -> dict[str, float]:
    """Accuracy, and calibration if there is a sigma."""
    values, sigma = (made.depth_m, made.uncertainty) if isinstance(made, DepthPrediction) else (made, None)
    accuracy = depth_metrics(values, truth_m, scored)
    found = {name: float(value) for name in _ACCURACY if (value := accuracy.get(name)) is not None}
    found["rmse_share"] = found["rmse"] / float(np.median(truth_m[scored]))
    return found if sigma is None else found | calibration(values, sigma, truth_m, scored, sparse_m)


def cells(patterns: Sequence[str], faults: Sequence[str], faulted: Sequence[str]) -> list[tuple[str, str]]:
    """(pattern, fault) pairs of a board: every pattern without a fault, and every fault on some patterns."""
    clean = [(pattern, NO_FAULT) for pattern in patterns] if NO_FAULT in faults else []
    return clean + [(pattern, fault) for pattern in faulted for fault in faults if fault != NO_FAULT]


def run_frame(
    one: Sample,
    truth_m: FloatMap,
    methods: Mapping[str, Method],
    wanted: Sequence[tuple[str, str]],
    score: str,
    seed: int,
    done: set[tuple[str, ...]],
) -> Iterator[Row]:
    """The cells of one frame that are not done yet."""
    made: dict[tuple[Any, str], DepthPrediction] = {}
    for pattern, fault in wanted:
        todo = [name for name in methods if (one.name, pattern, fault, name) not in done]
        if not todo:
            continue
        cell: Row = {"name": one.name, "pattern": pattern, "fault": fault}
        try:
            kept = draw(pattern, Measured(truth_m, one.image, one.intrinsics, one.sparse_m), seed)
            sparse = spoil_points(fault, kept, one.intrinsics, seed)
            image = spoil_picture(fault, one.image, truth_m, seed)
            scored = (truth_m > 0) & (kept == 0) if score == "hidden" else truth_m > 0
            if not scored.any():
                raise InputError("no hidden pixel to score on; use --score all")
        except LeadlineError as error:
            yield from ({**cell, "method": name, "message": str(error)} for name in todo)
            continue
        for name in todo:
            method = methods[name]
            row = {**cell, "method": name, "points": int(np.count_nonzero(sparse)), "scored": int(scored.sum())}
            try:
                looked = fault if fault in PICTURE_FAULTS else NO_FAULT
                if method.predict is not None and (method.predict, looked) not in made:
                    made[method.predict, looked] = method.predict(one, image)
                started = time.perf_counter()
                result = method.run(image, made.get((method.predict, looked)), sparse)
                row["seconds"] = round(time.perf_counter() - started, 4)
                row |= {key: round(value, 6) for key, value in scores(result, truth_m, scored, sparse).items()}
            except (LeadlineError, RuntimeError, ValueError, MemoryError) as error:
                row["message"] = " ".join(str(error).split()) or type(error).__name__
            yield row


class Cells(NamedTuple):
    """What a board fills: (pattern, fault) pairs, where to score, the seed, and the cells that are done, by :data:`KEYS`."""

    wanted: Sequence[tuple[str, str]]
    score: str
    seed: int
    done: set[tuple[str, ...]]


#: Gives the rows of all frames of a data set, in any order.
BoardEngine = Callable[[Dataset, Cells], Iterator[Row]]


def frame_rows(dataset: Dataset, index: int, methods: Mapping[str, Method], cells: Cells) -> Iterator[Row]:
    """The cells of one frame of a data set that are not done yet; none if its truth is not in metres."""
    one = dataset.load(index)
    if one.depth_m is None or not one.metric:
        return
    truth = np.where(scored_region(one, dataset.reader.rules), one.depth_m, 0.0).astype(np.float32)
    yield from run_frame(one, truth, methods, cells.wanted, cells.score, cells.seed, cells.done)


def run_board(
    maps: Mapping[str, Predict],
    complete: Complete,
    dataset: Dataset,
    out: Path,
    *,
    patterns: Sequence[str] = PATTERNS,
    faults: Sequence[str] = FAULTS,
    faulted: Sequence[str] = FAULTED,
    score: str | None = None,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    on_row: Callable[[Row], None] | None = None,
    engine: BoardEngine | None = None,
) -> list[Row]:
    """Fill ``out``/board.csv, then write ``out``/board.md and draw ``out``/board.html.

    Args:
        maps: Name → function of (sample, image as it is shown, which a fault may have changed) → relative map.
        complete: ``leadline.completion.complete``.
        dataset: Frames with metric depth; others are left out.
        out: Folder. Cells that are already in its board.csv are kept.
        patterns: See :func:`leadline.evaluation.patterns.draw`.
        faults: Of :data:`FAULTS`.
        faulted: Patterns on which the faults are tried.
        score: ``"hidden"`` scores on measured pixels that were not kept, ``"all"`` on all; ``None`` is what the published
            tables of the data set do, ``"hidden"`` for your own.
        seed: Of patterns and faults.
        about: What else decides the numbers (weights, ensemble ...); a folder of other settings is refused.
        on_row: Called after every cell.
        engine: Who fills the cells; ``None`` is this process (see :func:`leadline.evaluation.ray_engine.ray_board`).

    Returns:
        All rows, old and new.
    """
    score = scored_where(dataset.name, score)
    for fault in faults:
        if fault not in FAULTS:
            raise InputError(f"{fault!r} is not a fault; use one of {', '.join(FAULTS)}")
    out.mkdir(parents=True, exist_ok=True)
    settings = {"score": score, "seed": seed, "dataset": dataset.name, **(about or {})}
    _same_settings(out / "board.json", settings)
    rows = read_board(out / "board.csv")
    done = {tuple(row[key] for key in KEYS) for row in rows}
    methods, wanted = methods_of(maps, complete), cells(patterns, faults, faulted)
    todo = Cells(wanted, score, seed, done)
    filled = (
        engine(dataset, todo)
        if engine
        else (row for index in range(len(dataset)) for row in frame_rows(dataset, index, methods, todo))
    )
    with open(out / "board.csv", "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not rows:
            writer.writeheader()
        for row in filled:
            writer.writerow(row)
            file.flush()
            rows.append(row)
            if on_row:
                on_row(row)
    if not rows:
        raise InputError(f"{dataset.name} has no frame with metric depth")
    completions = [name for name in methods if name.endswith(": completion")]
    (out / "board.md").write_text(markdown(means(rows), settings, completions), encoding="utf-8")
    (out / "board.html").write_text(page(rows, settings, _pictures(dataset, methods, wanted, seed)), encoding="utf-8")
    return rows


def _same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    text = json.dumps(settings, sort_keys=True, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise InputError(f"{path.parent} holds a board of other settings; use another folder, or remove it")
    path.write_text(text, encoding="utf-8")


def read_board(path: Path) -> list[Row]:
    """Rows of a board.csv, numbers as numbers; none if there is no file. A line that was cut off is left out."""
    if not path.exists():
        return []
    rows = []
    with open(path, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if None in line or any(line[key] in (None, "") for key in KEYS) or line[COLUMNS[-1]] is None:
                continue
            text = {*KEYS, "message"}
            rows.append({key: value if key in text else float(value) for key, value in line.items() if value != ""})
    return rows


def means(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(pattern, fault) → method → mean of every number over the frames that all methods could do."""
    groups: dict[tuple[str, str], dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if not row.get("message"):
            groups[row["pattern"], row["fault"]][row["method"]][row["name"]] = row
    result: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    for cell, by_method in groups.items():
        common = set.intersection(*(set(frames) for frames in by_method.values()))
        result[cell] = {}
        for method, frames in by_method.items():
            chosen = [frames[name] for name in sorted(common)]
            numbers = [n for n in (*_ACCURACY, *_CALIBRATION, "seconds") if chosen and all(n in row for row in chosen)]
            result[cell][method] = {n: float(np.mean([row[n] for row in chosen])) for n in numbers}
            result[cell][method]["frames"] = len(common)
    return result


def page(rows: Sequence[Row], settings: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """One HTML page: a table per cell group, a picture per pattern."""
    shown = ("rmse_share", "rmse", "mae", "abs_rel", "coverage_1s", "coverage_2s", "nll", "nll_constant", "ause")
    parts = [
        "<!doctype html><meta charset='utf-8'><title>Completion board</title><style>body{font:14px sans-serif;margin:2em}"
        "table{border-collapse:collapse;margin-bottom:1.5em}td,th{padding:2px 8px;text-align:right;border-bottom:1px solid #ddd}"
        "td:first-child,th:first-child{text-align:left}.best{font-weight:bold}img{max-width:100%}</style>",
        f"<h1>Completion board</h1><p>{html.escape(', '.join(f'{k}: {v}' for k, v in settings.items()))}</p>",
        "<p>Means over frames that every method could do. Pictures: photograph with points, depth, sigma over depth.</p>",
    ]
    drawn: set[str] = set()
    for (pattern, fault), by_method in means(rows).items():
        title = pattern if fault == NO_FAULT else f"{pattern}, {fault}"
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("", "frames", *shown))
        parts.append(f"<h2>{html.escape(title)}</h2><table><tr>{head}</tr>")
        best = {n: min((m[n] for m in by_method.values() if n in m), default=np.nan) for n in _ACCURACY}
        for method, numbers in by_method.items():
            line = f"<td>{html.escape(method)}</td><td>{numbers['frames']:.0f}</td>"
            for n in shown:
                mark = " class='best'" if n in best and numbers.get(n) == best[n] else ""
                line += f"<td{mark}>{numbers[n]:.4f}</td>" if n in numbers else "<td>–</td>"
            parts.append(f"<tr>{line}</tr>")
        parts.append("</table>")
        if pattern in pictures and pattern not in drawn:
            drawn.add(pattern)
            parts.append(f"<img src='data:image/jpeg;base64,{pictures[pattern]}'>")
    failed = [row for row in rows if row.get("message")]
    if failed:
        lines = "".join(f"<li>{html.escape(', '.join(str(row[k]) for k in (*KEYS, 'message')))}</li>" for row in failed)
        parts.append(f"<h2>Cells without numbers</h2><ul>{lines}</ul>")
    return "\n".join(parts)


def _pictures(
    dataset: Dataset, methods: Mapping[str, Method], wanted: Sequence[tuple[str, str]], seed: int
) -> dict[str, str]:
    """Pattern → JPEG as base64 of the last method on the first frame."""
    found: dict[str, str] = {}
    ones = (dataset.load(index) for index in range(len(dataset.frames)))
    one = next((one for one in ones if one.depth_m is not None and one.metric), None)
    method = list(methods.values())[-1]
    if one is None or one.depth_m is None:
        return found
    truth = np.where(scored_region(one, dataset.reader.rules), one.depth_m, 0.0).astype(np.float32)
    made = method.predict(one, one.image) if method.predict else None
    for pattern in dict.fromkeys(pattern for pattern, _ in wanted):
        try:
            sparse = draw(pattern, Measured(truth, one.image, one.intrinsics, one.sparse_m), seed)
            result = method.run(one.image, made, sparse)
        except (LeadlineError, ValueError, RuntimeError):
            continue
        found[pattern] = _strip(one.image, sparse, result)
    return found


def _strip(rgb: npt.NDArray[np.uint8], sparse_m: FloatMap, result: DepthPrediction | FloatMap) -> str:
    values, sigma = (result.depth_m, result.uncertainty) if isinstance(result, DepthPrediction) else (result, None)
    low, high = np.percentile(np.log(values), [1, 99])

    def colours(depth: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
        part = np.clip((high - np.log(np.maximum(depth, 1e-6))) / max(float(high - low), 1e-6), 0, 1)
        return np.asarray(cv2.applyColorMap((255 * part).astype(np.uint8), cv2.COLORMAP_TURBO), np.uint8)

    few = np.count_nonzero(sparse_m) < sparse_m.size / 20
    dots = np.asarray(cv2.dilate(sparse_m, np.ones((3, 3), np.uint8)) if few else sparse_m, np.float32)
    photo = np.where((dots > 0)[..., None], colours(dots), rgb[..., ::-1] // 2)
    parts = [photo, colours(values)]
    if sigma is not None:
        share = np.clip(sigma / np.maximum(values, 1e-6) / 0.5, 0, 1)
        parts.append(np.asarray(cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO), np.uint8))
    strip = np.hstack(parts)
    strip = cv2.resize(
        strip, (1200, max(round(strip.shape[0] * 1200 / strip.shape[1]), 1)), interpolation=cv2.INTER_AREA
    )
    return base64.b64encode(cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()).decode()
