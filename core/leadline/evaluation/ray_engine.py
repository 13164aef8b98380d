"""Frames shared out over a Ray cluster; the driver writes, so a run can be resumed with or without Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from leadline.errors import LeadlineError
from leadline.evaluation.datasets import Dataset
from leadline.evaluation.protocols import Protocol
from leadline.evaluation.runner import Engine, Outcome, Predictor, evaluate_frames

#: Batches a worker gets at a time: enough to read ahead, few enough to lose little when a node dies.
BATCHES_PER_TASK = 4


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
        if not indices:
            return
        ray = _connect(address)
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), max(1, int(resources.get("CPU", 1)))
        count = workers or gpus or max(1, cpus // 2)
        size = batch * BATCHES_PER_TASK
        tasks = [indices[i : i + size] for i in range(0, len(indices), size)]
        count = min(count, len(tasks))
        # Small enough to fit on any node: a worker that fits nowhere would be waited for forever.
        share = 1 / -(-count // gpus) if gpus else 0
        worker = ray.remote(num_cpus=1 if gpus else max(1, min(2, cpus // count)), num_gpus=share, max_restarts=1)(
            _Worker
        )
        pool = [worker.remote(make_model) for _ in range(count)]
        waiting = iter(tasks)
        running = {
            actor.score.remote(dataset, task, protocol, options, batch): actor
            for actor, task in zip(pool, waiting, strict=False)
        }
        try:
            while running:
                (done,), _ = ray.wait(list(running))
                actor = running.pop(done)
                task = next(waiting, None)
                if task is not None:
                    running[actor.score.remote(dataset, task, protocol, options, batch)] = actor
                try:
                    yield from ray.get(done)
                except ray.exceptions.RayError as error:
                    raise LeadlineError(
                        f"a Ray worker failed ({str(error).strip().splitlines()[-1]}); run again to go on"
                    ) from error
        finally:
            for actor in pool:
                ray.kill(actor)

    return run


class _Worker:
    """One model in one process of the cluster."""

    def __init__(self, make_model: Callable[[], Predictor]) -> None:
        self._model = make_model()

    def score(
        self, dataset: Dataset, indices: list[int], protocol: Protocol, options: Mapping[str, Any], batch: int
    ) -> list[Outcome]:
        return list(evaluate_frames(self._model, dataset, indices, protocol, options, batch))


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
