"""Completion on hidden points: keep some measured points, complete, score on the rest, beside the classical fills."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.completion.conditioned import takes_sparse_depth
from leadline.depth.alignment import align
from leadline.depth.prediction import DepthPrediction
from leadline.errors import InputError, LeadlineError
from leadline.evaluation import results
from leadline.evaluation.comparable import MARK, completion_differences
from leadline.evaluation.datasets import Dataset, Sample
from leadline.evaluation.metrics import Scores, depth_metrics, mean_scores
from leadline.evaluation.papers import published_on
from leadline.evaluation.runner import Predictor, environment
from leadline.evaluation.scoring import scored_region
from leadline.evaluation.sparse import FILLS, sample
from leadline.evaluation.tables import Table, show
from leadline.evaluation.uncertainty import uncertainty_metrics
from leadline.types import FloatMap

COMPLETION_FORMAT = "leadline-eval-completion/1"

#: The data set's own sparse points, scored on all of its ground truth (KITTI).
GIVEN = "given"
#: Where to score: on measured pixels that were not kept, or on all of the ground truth.
SCORES = ("hidden", "all")
#: Sets whose published tables score on all of the ground truth, points included.
SCORED_ON_ALL = ("nyu-completion", "kitti-completion", "omnidc")
DEFAULT_PATTERNS = ("500", "2%", "half", "16-line", "64-line")
#: Wrong points are this many times too near or too far.
OUTLIER_FACTORS = ((0.25, 0.7), (1.5, 4.0))

_METRICS = ("rmse_share", "rmse", "mae", "abs_rel", "irmse", "imae", "coverage_1s", "coverage_2s", "calibration_error")
_COLUMNS = ("name", "pattern", "method", "status", "message", "points", "hidden", "seconds", *_METRICS)

Complete = Callable[[npt.NDArray[np.uint8], DepthPrediction, FloatMap], DepthPrediction]


@dataclass(frozen=True)
class Result:
    """One method on one image with one pattern; ``message`` says why there are no scores."""

    name: str
    pattern: str
    method: str
    points: int = 0
    hidden: int = 0
    seconds: float = 0.0
    scores: Scores = field(default_factory=dict)
    message: str = ""

    @property
    def status(self) -> str:
        """``"failed"`` or ``"scored"``."""
        return results.FAILED if self.message else results.SCORED


def with_outliers(sparse_m: FloatMap, share: float, seed: int) -> FloatMap:
    """Replace a share of the points by depths far too near or far too far, evenly either way."""
    points = np.flatnonzero(sparse_m > 0)
    rng = np.random.default_rng(seed)
    wrong = rng.choice(points, round(share * points.size), replace=False)
    nearer, farther = (rng.uniform(low, high, wrong.size) for low, high in OUTLIER_FACTORS)
    spoiled = sparse_m.copy()
    spoiled.flat[wrong] *= np.where(rng.random(wrong.size) < 0.5, nearer, farther).astype(np.float32)
    return spoiled


def score_hidden(
    predicted_m: npt.NDArray[np.floating], sigma_m: FloatMap | None, truth_m: FloatMap, hidden: npt.NDArray[np.bool_]
) -> Scores:
    """RMSE (also as a share of the median depth), MAE, REL, i-RMSE, i-MAE and coverage on the hidden points."""
    scores = depth_metrics(predicted_m, truth_m, hidden)
    if sigma_m is not None:
        scores.update(uncertainty_metrics(predicted_m, sigma_m, truth_m, hidden))
    rmse = scores["rmse"]
    scores["rmse_share"] = rmse / float(np.median(truth_m[hidden])) if rmse is not None else None
    return {name: scores[name] for name in _METRICS if name in scores}


def affine(prediction: DepthPrediction, sparse_m: FloatMap) -> FloatMap:
    """What scale and shift alone make of a prediction: robust fit to the points in the model's own space, metres."""
    fit = align(prediction.values, sparse_m, prediction.space, robust=True)
    return fit.apply(prediction.values).astype(np.float32)


def scored_where(dataset: str, score: str | None) -> str:
    """``score``, or what the published tables of the data set do."""
    if score is None:
        return "all" if dataset in SCORED_ON_ALL else "hidden"
    if score not in SCORES:
        raise InputError(f"score {score!r} is not known; use {' or '.join(SCORES)}")
    return score


def _pattern_points(
    one: Sample, truth_m: FloatMap, pattern: str, seed: int, score: str
) -> tuple[FloatMap, npt.NDArray[np.bool_]]:
    """The kept points and where to score."""
    if pattern == GIVEN:
        if one.sparse_m is None:
            raise InputError(f"{one.name} brings no sparse points; use another pattern than '{GIVEN}'")
        return one.sparse_m, truth_m > 0
    sparse = sample(pattern, truth_m, seed, one.intrinsics)
    return sparse, (truth_m > 0) & (sparse == 0) if score == "hidden" else truth_m > 0


def methods_for(
    models: Sequence[Predictor], complete: Complete, complete_with: Callable[..., DepthPrediction] | None = None
) -> dict[str, tuple[Predictor | None, Any]]:
    """Table row → (model it needs, function of (image, prediction, sparse) or of sparse alone).

    For a model that sees the points the function is of (image, model, sparse, options).
    """
    methods: dict[str, tuple[Predictor | None, Any]] = {name: (None, fill) for name, fill in FILLS.items()}
    for model in models:
        if takes_sparse_depth(model):
            if complete_with is None:
                raise InputError(f"{model.name} sees sparse depth itself; this table cannot run it")
            methods[f"{model.name}: method depthfm"] = (
                model,
                lambda image, model, sparse, options: complete_with(model, image, sparse, method="depthfm", **options),
            )
            continue
        methods[f"{model.name}: scale and shift"] = (
            model,
            lambda _image, prediction, sparse: affine(prediction, sparse),
        )
        methods[f"{model.name}: completion"] = (model, complete)
    return methods


def evaluate_image(
    one: Sample,
    truth_m: FloatMap,
    methods: Mapping[str, tuple[Predictor | None, Any]],
    patterns: Sequence[str],
    options: Mapping[str, Any],
    seed: int,
    outliers: float,
    score: str = "hidden",
) -> Iterator[Result]:
    """Every pattern × method on one image; each model predicts once."""
    predictions: dict[str, DepthPrediction | str] = {}
    for pattern in patterns:
        sparse, hidden = _pattern_points(one, truth_m, pattern, seed, score)
        sparse = with_outliers(sparse, outliers, seed) if outliers else sparse
        for name, (model, method) in methods.items():
            result = Result(one.name, pattern, name, int(np.count_nonzero(sparse)), int(hidden.sum()))
            if not hidden.any():
                yield replace(result, message="no hidden point to score on")
                continue
            try:
                arguments: tuple[Any, ...] = (sparse,)
                if model is not None and takes_sparse_depth(model):
                    arguments = (one.image, model, sparse, options)
                elif model is not None:
                    if model.name not in predictions:
                        predictions[model.name] = model.predict(one.image, **options)
                    arguments = (one.image, predictions[model.name], sparse)
                started = time.perf_counter()
                made = method(*arguments)
                seconds = time.perf_counter() - started
                values, sigma = (made.depth_m, made.uncertainty) if isinstance(made, DepthPrediction) else (made, None)
                yield replace(result, seconds=seconds, scores=score_hidden(values, sigma, truth_m, hidden))
            except (LeadlineError, RuntimeError, ValueError, MemoryError) as error:
                yield replace(result, message=" ".join(str(error).split()) or type(error).__name__)


def evaluate_completion(
    models: Sequence[Predictor],
    complete: Complete,
    dataset: Dataset,
    out: Path,
    patterns: Sequence[str] = DEFAULT_PATTERNS,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    outliers: float = 0.0,
    on_result: Callable[[Result], None] | None = None,
    complete_with: Callable[..., DepthPrediction] | None = None,
    score: str | None = None,
) -> dict[str, Any]:
    """Run the protocol on every metric frame and write ``out``/completion.csv and ``out``/completion.json.

    Args:
        models: Each gives two rows: scale and shift alone, and ``complete``. A model that sees the points gives one, by
            ``complete_with``, whose time includes the network.
        complete: ``leadline.completion.complete``.
        patterns: See :func:`leadline.evaluation.sparse.sample`, and ``"given"``.
        options: For ``predict``: steps, ensemble, size, seed.
        seed: Of the patterns.
        outliers: Share of the points that are spoiled first.
        on_result: Called after every result.
        complete_with: ``leadline.completion.complete_with``, for models that see the points.
        score: Of :data:`SCORES`; ``None`` is what the published tables of the data set do, ``"hidden"`` for your own.

    Returns:
        The summary: ``means[pattern][method]``, counts, and what went wrong.
    """
    score = scored_where(dataset.name, score)
    methods = methods_for(models, complete, complete_with)
    done: list[Result] = []
    skipped = []
    for index, frame in enumerate(dataset.frames):
        try:
            one = dataset.load(index)
        except LeadlineError as error:
            skipped.append({"name": frame.name, "message": str(error)})
            continue
        if one.depth_m is None or not one.metric:
            skipped.append({"name": frame.name, "message": "its ground truth is not in metres"})
            continue
        truth = np.where(scored_region(one, dataset.reader.rules), one.depth_m, 0.0).astype(np.float32)
        for result in evaluate_image(one, truth, methods, patterns, options or {}, seed, outliers, score):
            done.append(result)
            if on_result:
                on_result(result)
    if not any(result.scores for result in done):
        first = (skipped or [{"message": done[0].message if done else "no frames"}])[0]["message"]
        raise InputError(f"nothing could be completed; the first frame says: {first}")
    out.mkdir(parents=True, exist_ok=True)
    _write_csv(out / "completion.csv", done)
    means: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        means[pattern] = {}
        for method in methods:
            rows = [r for r in done if r.pattern == pattern and r.method == method and r.scores]
            if rows:
                scores, counts = mean_scores(row.scores for row in rows)
                milliseconds = 1000 * float(np.mean([row.seconds for row in rows]))
                means[pattern][method] = {**scores, "images": max(counts.values()), "milliseconds": milliseconds}
    summary = {
        "format": COMPLETION_FORMAT,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "dataset": dataset.described(),
        "models": {m.name: {"weights": getattr(m, "weights_hash", ""), "space": m.space.value} for m in models},
        "sampling": dict(options or {}),
        "seed": seed,
        "outliers": outliers,
        "score": score,
        "environment": environment(),
        "means": means,
        "skipped": skipped,
        "problems": [
            {"name": r.name, "pattern": r.pattern, "method": r.method, "message": r.message} for r in done if r.message
        ],
    }
    results.write_json(out / "completion.json", summary)
    return summary


def _write_csv(path: Path, done: Sequence[Result]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for r in done:
            facts = {k: getattr(r, k) for k in _COLUMNS if k not in _METRICS}
            writer.writerow({**facts, **r.scores})


def completion_tables(summary: Mapping[str, Any]) -> dict[str, Table]:
    """One table per pattern: title → table."""
    tables = {}
    for pattern, by_method in summary["means"].items():
        rows = []
        for method, m in by_method.items():
            rows.append(
                [
                    method,
                    str(m["images"]),
                    f"{m['rmse_share']:.4f}",
                    *(f"{m[name]:.3f}" for name in ("rmse", "mae")),
                    f"{100 * m['abs_rel']:.2f} %",
                    *(show(name, m.get(name)) for name in ("coverage_1s", "coverage_2s")),
                    f"{m['milliseconds']:.0f}",
                ]
            )
        notes = [f"scored on {'all of the ground truth' if summary['score'] == 'all' else 'hidden points'}"]
        images = max((m["images"] for m in by_method.values()), default=0)
        for p in published_on(summary["dataset"]["name"]):
            found = completion_differences(p, summary, pattern, images)
            rows.append([f"{p.method}{' ' + MARK if found else ''}", "paper", "–", f"{p.scores['rmse']:.3f}", *"–––––"])
            notes += [f"{MARK} {p.method} ({p.source}): {'; '.join(found)}"] if found else [f"{p.method}: {p.source}"]
        title = f"{pattern} points" if pattern.isdigit() else pattern
        spoiled = f", {100 * summary['outliers']:.0f} % of them wrong" if summary["outliers"] else ""
        header = ["", "images", "RMSE/median ↓", "RMSE [m] ↓", "MAE [m] ↓", "REL ↓", "in 1σ", "in 2σ", "ms*"]
        tables[f"{summary['dataset']['title']}: {title}{spoiled}"] = Table(header, rows, notes)
    return tables
