"""Models × one data set → rows, a summary, and pictures; goes on where it stopped, and finishes whatever it meets."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.evaluation import cases, results
from leadline.evaluation.datasets import Dataset, Sample
from leadline.evaluation.protocols import Protocol as EvalProtocol
from leadline.evaluation.protocols import described_rules
from leadline.evaluation.results import FAILED, SCORED, UNSCORED, Row
from leadline.evaluation.scoring import ASSUMED_RANGE_M, score

#: Sets with mattes instead of depth: the runner says in its summary which range of depth it assumed.
MATTE_SETS = ("mattes", "am2k", "p3m10k", "dis5k")
#: Models made for images smaller than this keep their own processing size under a paper's protocol.
FULL_SIZE_PX = 512


class Predictor(Protocol):
    """What the runner needs of a model; :class:`~leadline.inference.estimator.DepthEstimator` has it."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def space(self) -> Space: ...
    @property
    def default_size(self) -> int: ...
    @property
    def default_steps(self) -> int: ...
    @property
    def stochastic(self) -> bool: ...
    @property
    def predict(self) -> Callable[..., Any]: ...


@dataclass(frozen=True)
class Sampling:
    """How predictions are made. ``None`` leaves a choice to the protocol, then to the model."""

    steps: int | None = None
    ensemble: int | None = None
    size: int | None = None
    seed: int = 0
    batch: int = 4

    def resolve(self, model: Predictor, protocol: EvalProtocol, dataset: Dataset) -> dict[str, Any]:
        """The options of ``predict`` for this model, protocol and data set."""
        size = self.size
        if size is None and protocol.paper_size and model.default_size >= FULL_SIZE_PX:
            size = dataset.reader.rules.size
        steps = self.steps if self.steps is not None else (protocol.steps if model.stochastic else None)
        return {
            "steps": model.default_steps if steps is None else steps,
            "ensemble": self.ensemble or protocol.ensemble or 1,
            "size": model.default_size if size is None else size,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Outcome:
    """One image's row, and its picture if it was scored."""

    row: Row
    case: cases.Case | None = None


OnOutcome = Callable[[int, int, Row], None]
Engine = Callable[[Dataset, list[int]], Iterable[Outcome]]


def evaluate_frames(
    model: Predictor,
    dataset: Dataset,
    indices: Iterable[int],
    protocol: EvalProtocol,
    options: Mapping[str, Any],
    batch: int = 4,
) -> Iterator[Outcome]:
    """Score some frames, batch by batch, reading ahead. Every frame gives one outcome, whatever happens to it."""
    todo = list(indices)
    batches = [todo[i : i + batch] for i in range(0, len(todo), batch)]
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for number, chunk in enumerate(batches):
            loaded = ahead.result() if ahead else _load(dataset, chunk)
            ahead = reader.submit(_load, dataset, batches[number + 1]) if number + 1 < len(batches) else None
            samples = [one for one in loaded if isinstance(one, Sample)]
            predicted = iter(_predict(model, samples, options))
            for one in loaded:
                yield one if isinstance(one, Outcome) else _outcome(one, next(predicted), dataset, protocol)


def _load(dataset: Dataset, indices: list[int]) -> list[Sample | Outcome]:
    loaded: list[Sample | Outcome] = []
    for index in indices:
        frame = dataset.frames[index]
        try:
            loaded.append(dataset.load(index))
        except Exception as error:  # a damaged file may break any decoder in any way; the run goes on
            loaded.append(Outcome(Row(frame.name, frame.group, FAILED, _describe(error))))
    return loaded


def _predict(
    model: Predictor, samples: list[Sample], options: Mapping[str, Any]
) -> list[tuple[DepthPrediction | str, float]]:
    """(prediction or what went wrong, seconds) per sample; a batch that fails is tried one by one."""
    if not samples:
        return []
    started = time.perf_counter()
    try:
        made = model.predict([sample.image for sample in samples], **options)
    except (Cancelled, KeyboardInterrupt):
        raise
    except Exception as error:
        if len(samples) == 1:
            return [(_describe(error), time.perf_counter() - started)]
        return [result for sample in samples for result in _predict(model, [sample], options)]
    seconds = (time.perf_counter() - started) / len(samples)
    return [(one, seconds) for one in made]


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, LeadlineError) else f"{type(error).__name__}: {text}"


def _outcome(
    sample: Sample, made: tuple[DepthPrediction | str, float], dataset: Dataset, protocol: EvalProtocol
) -> Outcome:
    prediction, seconds = made
    height, width = sample.image.shape[:2]
    facts: dict[str, Any] = {"width": width, "height": height, "seconds": seconds, "metric_truth": sample.metric}
    if isinstance(prediction, str):
        return Outcome(Row(sample.name, sample.group, FAILED, prediction, **facts))
    try:
        scored = score(sample, prediction, protocol, dataset.reader.rules)
    except LeadlineError as error:
        return Outcome(Row(sample.name, sample.group, FAILED, str(error), **facts))
    if scored.reason:
        return Outcome(Row(sample.name, sample.group, UNSCORED, scored.reason, **facts))
    if scored.fit is not None:
        facts |= {
            "pixels": scored.fit.pixels,
            "scale": scored.fit.scale,
            "shift": scored.fit.shift,
            "fit": scored.fit.status,
        }
    row = Row(sample.name, sample.group, SCORED, pairs=len(sample.pairs), **facts, scores=scored.scores)
    return Outcome(row, cases.make_case(sample, prediction, scored))


@dataclass(frozen=True)
class Entry:
    """One line of the table: a model, what it is called there, and how it is run."""

    label: str
    model: Predictor
    engine: Engine | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def run(
    entries: list[Entry],
    dataset: Dataset,
    protocol: EvalProtocol,
    sampling: Sampling,
    out: Path,
    fresh: bool = False,
    on_outcome: Callable[[str, int, int, Row], None] | None = None,
) -> dict[str, Any]:
    """Evaluate every entry and write ``out``/summary.json, ``out``/LABEL/images.csv and the kept cases.

    Images already scored by the same run (same weights, protocol, options, data) are not done again; failed ones are.

    Args:
        entries: With different labels.
        fresh: Forget what ``out`` holds.
        on_outcome: Called with label, images done, images in all, and the new row.

    Returns:
        The summary, as written.

    Raises:
        InputError: ``out`` holds another run, or not one image of any model could be scored.
    """
    labels = [entry.label for entry in entries]
    if len(set(labels)) != len(labels):
        raise InputError(f"two lines of the table are called the same: {', '.join(labels)}")
    models: dict[str, Any] = {}
    summary: dict[str, Any] = {
        "format": results.FORMAT,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "dataset": {**dataset.described(), "left_out": dataset.left_out, "not_asked": dataset.not_asked},
        "protocol": protocol.describe(),
        "rules": described_rules(dataset.reader.rules),
        "assumed_range_m": list(ASSUMED_RANGE_M) if dataset.name in MATTE_SETS else None,
        "environment": environment(),
        "models": models,
    }
    for entry in entries:
        models[entry.label] = _run_one(entry, dataset, protocol, sampling, out / entry.label, fresh, on_outcome)
        results.write_json(out / "summary.json", summary)
    if not any(model[SCORED] for model in models.values()):
        problems = next(iter(models.values()))["problems"]
        raise InputError(f"not one of {len(dataset)} images could be scored; the first says: {problems[0]['message']}")
    return summary


def _run_one(
    entry: Entry,
    dataset: Dataset,
    protocol: EvalProtocol,
    sampling: Sampling,
    folder: Path,
    fresh: bool,
    on_outcome: Callable[[str, int, int, Row], None] | None,
) -> dict[str, Any]:
    model = entry.model
    options = sampling.resolve(model, protocol, dataset)
    about = {
        "name": model.name,
        "family": model.family,
        "space": model.space.value,
        "weights": getattr(model, "weights_hash", ""),
        "sampling": {**options, **entry.settings},
        "devices": [str(device) for device in getattr(model, "devices", ["none"])],
        "precision": str(getattr(model, "dtype", "none")).removeprefix("torch."),
        "space_differs": protocol.space is not None and protocol.aligned and protocol.space is not model.space,
    }
    identity = {**about, "dataset": dataset.name, "protocol": protocol.describe(), "leadline": _version("leadline")}
    identity["rules"] = described_rules(dataset.reader.rules)
    del identity["devices"]
    folder.mkdir(parents=True, exist_ok=True)
    table, kept = folder / "images.csv", folder / "cases"
    _claim(folder, identity, fresh)
    stored = {name: row for name, row in results.read_rows(table).items() if row.status != FAILED}
    names = [frame.name for frame in dataset.frames]
    rows = {name: stored[name] for name in names if name in stored}
    others = [row for name, row in stored.items() if name not in rows]  # of a longer run: they stay in the table
    results.rewrite_rows(table, [*rows.values(), *others])
    todo = [index for index, name in enumerate(names) if name not in rows]
    engine = entry.engine or (
        lambda data, indices: evaluate_frames(model, data, indices, protocol, options, sampling.batch)
    )
    for outcome in engine(dataset, todo):
        rows[outcome.row.name] = outcome.row
        results.append_rows(table, [outcome.row])
        if outcome.case is not None:
            _keep(kept, outcome.case, rows)
        if on_outcome:
            on_outcome(entry.label, len(rows), len(names), outcome.row)
    ordered = [rows[name] for name in names if name in rows]
    results.rewrite_rows(table, [*ordered, *others])
    best, worst = cases.extremes(_errors(rows))
    if not others:
        cases.keep_only(kept, {*best, *worst})
    summary = {**about, **results.summarise(ordered), "best": best, "worst": worst}
    return {**summary, "rows_of_other_frames": len(others)} if others else summary


def _errors(rows: Mapping[str, Row]) -> dict[str, float]:
    """What images are ranked by: AbsRel, else what is left to right answers or found boundaries."""
    errors = {}
    for name, row in rows.items():
        abs_rel = row.scores.get("abs_rel")
        hits = row.scores.get("pair_accuracy", row.scores.get("boundary_recall"))
        if abs_rel is not None:
            errors[name] = abs_rel
        elif hits is not None:
            errors[name] = 1.0 - hits
    return errors


def _keep(folder: Path, case: cases.Case, rows: Mapping[str, Row]) -> None:
    """Save a case while it is among the extremes so far; whatever ends up extreme was so when it was scored."""
    best, worst = cases.extremes(_errors(rows))
    if case.name in best or case.name in worst:
        cases.save_case(folder, case)


def _claim(folder: Path, identity: Mapping[str, Any], fresh: bool) -> None:
    """Mark ``folder`` as this run's, or complain that it is another's."""
    mark = folder / "run.json"
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if mark.exists() and not fresh:
        try:
            found = json.loads(mark.read_text(encoding="utf-8")).get("fingerprint")
        except (ValueError, AttributeError, OSError):
            found = None
        if found != fingerprint:
            raise InputError(
                f"{folder} holds another run (other weights, protocol or options); give another --out, or --fresh"
            )
        return
    (folder / "images.csv").unlink(missing_ok=True)
    cases.keep_only(folder / "cases", set())
    results.write_json(mark, {"fingerprint": fingerprint, **identity})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def environment() -> dict[str, Any]:
    """Versions and machine, for the summary."""
    import sys  # noqa: PLC0415

    packages = {
        "leadline": "leadline",
        "torch": "torch",
        "diffusers": "diffusers",
        "numpy": "numpy",
        "opencv": "opencv-python-headless",
    }
    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch else []
    return {
        **{name: _version(package) for name, package in packages.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads() if torch else None,
        "gpus": gpus,
    }
