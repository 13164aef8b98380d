"""Frames shared out over a Ray cluster; the driver writes, so a run can be resumed with or without Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from leadline.errors import LeadlineError
from leadline.evaluation.board import BoardEngine, Cells, Method, Row, frame_rows
from leadline.evaluation.datasets import Dataset
from leadline.evaluation.protocols import Protocol
from leadline.evaluation.runner import Engine, Outcome, Predictor, evaluate_frames
from leadline.evaluation.tuned import WORK

T = TypeVar("T")
X = TypeVar("X")
Y = TypeVar("Y")


def ray_engine(
    make_model: Callable[[], Predictor],
    protocol: Protocol,
    options: Mapping[str, Any],
    batch: int = 4,
    workers: int | None = None,
    address: str | None = None,
) -> Engine:
    """An engine for :class:`~leadline.evaluation.runner.Entry`.

    Args:
        make_model: Called once in every worker; must be picklable. The data set's root and the weights must be
            reachable from every node under the same path.
        protocol, options, batch: As for :func:`~leadline.evaluation.runner.evaluate_frames`.
        workers: ``None``: one per GPU of the cluster, or one per two CPU cores if it has none.
        address: Of a running cluster; ``None`` starts one on this machine.
    """

    def run(dataset: Dataset, indices: list[int]) -> Iterator[Outcome]:
        size = batch * WORK.batches_per_task
        tasks = [indices[i : i + size] for i in range(0, len(indices), size)]

        def score(model: Predictor, task: list[int]) -> list[Outcome]:
            return list(evaluate_frames(model, dataset, task, protocol, options, batch))

        return _spread(make_model, score, tasks, workers, address)

    return run


def ray_board(
    make_methods: Callable[[], Mapping[str, Method]], workers: int | None = None, address: str | None = None
) -> BoardEngine:
    """An engine for :func:`~leadline.evaluation.board.run_board`: a frame at a time, with all of its cells, to each worker.

    Args:
        make_methods: Called once in every worker; must be picklable.
        workers, address: As for :func:`ray_engine`.
    """

    def run(dataset: Dataset, cells: Cells) -> Iterator[Row]:
        def fill(methods: Mapping[str, Method], index: int) -> list[Row]:
            return list(frame_rows(dataset, index, methods, cells))

        return _spread(make_methods, fill, list(range(len(dataset))), workers, address)

    return run


def _spread(
    make: Callable[[], T], work: Callable[[T, X], list[Y]], tasks: list[X], workers: int | None, address: str | None
) -> Iterator[Y]:
    """What ``work`` gives for every task, in the order in which workers finish; each worker calls ``make`` once."""
    if not tasks:
        return
    ray = _connect(address)
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))
    count = min(workers or gpus or max(1, cpus // 2), len(tasks))
    # Small enough to fit on any node: a worker that fits nowhere would be waited for forever.
    share = 1 / -(-count // gpus) if gpus else 0
    worker = ray.remote(num_cpus=1 if gpus else max(1, min(2, cpus // count)), num_gpus=share, max_restarts=1)(_Worker)
    pool = [worker.remote(make, work) for _ in range(count)]
    waiting = iter(tasks)
    running = {actor.do.remote(task): actor for actor, task in zip(pool, waiting, strict=False)}
    try:
        while running:
            (done,), _ = ray.wait(list(running))
            actor = running.pop(done)
            task = next(waiting, None)
            if task is not None:
                running[actor.do.remote(task)] = actor
            try:
                yield from ray.get(done)
            except ray.exceptions.RayError as error:
                raise LeadlineError(
                    f"a Ray worker failed ({str(error).strip().splitlines()[-1]}); run again to go on"
                ) from error
    finally:
        for actor in pool:
            ray.kill(actor)


class _Worker:
    """What ``make`` gives (a model, say) in one process of the cluster, and the work on it."""

    def __init__(self, make: Callable[[], Any], work: Callable[[Any, Any], list[Any]]) -> None:
        self._made, self._work = make(), work

    def do(self, task: Any) -> list[Any]:
        return self._work(self._made, task)


def _connect(address: str | None) -> Any:
    try:
        import ray  # noqa: PLC0415
    except ImportError as error:
        raise LeadlineError("--engine ray needs Ray; pip install 'leadline[ray]'") from error
    if not ray.is_initialized():
        # Ray's workers run at niceness 15 by default: beside anything else on the machine they hardly get to run.
        os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise LeadlineError(
                f"no Ray cluster at {address or 'this machine'} ({error}); start one, or use --engine local"
            ) from error
    return ray
