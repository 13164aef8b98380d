"""Rendering many scenes to disk: numbered shards, resumable, written whole or not at all."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from leadline.files.whole import whole_file

from .render import SceneBatch, render_scenes


@dataclass(frozen=True)
class Job:
    """What to render. Shard k holds pictures k·shard … of the sequence (seed, index)."""

    count: int
    height: int
    width: int
    seed: int
    out: Path
    shard: int = 50
    layout: str | None = None

    def shards(self) -> list[tuple[int, int]]:
        """(first index, number of pictures) of every shard."""
        return [(first, min(self.shard, self.count - first)) for first in range(0, self.count, self.shard)]

    def path(self, first: int, size: int) -> Path:
        """Where a shard lies; its name says everything that its content depends on."""
        kind = self.layout or "mix"
        return self.out / f"{kind}-s{self.seed}-{self.height}x{self.width}-{first:07d}-{size:04d}.npz"


def write_shard(batch: SceneBatch, path: Path) -> None:
    """Saves rgb (uint8), depth_m (float32), valid, intrinsics, layout; the file appears only when complete."""
    with whole_file(path) as temporary, temporary.path.open("wb") as stream:
        np.savez(
            stream,
            rgb=batch.rgb.cpu().numpy(),
            depth_m=batch.depth_m.cpu().numpy(),
            valid=batch.valid.cpu().numpy(),
            intrinsics=batch.intrinsics.cpu().numpy(),
            layout=np.array(batch.layout),
        )


def read_shard(path: Path) -> SceneBatch:
    """The inverse of :func:`write_shard`."""
    with np.load(path) as data:
        return SceneBatch(
            torch.from_numpy(data["rgb"]),
            torch.from_numpy(data["depth_m"]),
            torch.from_numpy(data["valid"]),
            torch.from_numpy(data["intrinsics"]),
            [str(name) for name in data["layout"]],
        )


def _render_one(job: Job, first: int, size: int, device: str) -> int:
    torch.set_num_threads(1)
    batch = render_scenes(job.seed, size, job.height, job.width, job.layout, device, first=first)
    write_shard(batch, job.path(first, size))
    return size


def render_shards(job: Job, workers: int = 1, device: str = "cpu") -> Iterator[int]:
    """Renders what is missing; yields the number of pictures ready, first those found finished, then shard by shard."""
    missing = [(first, size) for first, size in job.shards() if not job.path(first, size).exists()]
    ready = job.count - sum(size for _, size in missing)
    yield ready
    if workers <= 1:
        for first, size in missing:
            ready += _render_one(job, first, size, device)
            yield ready
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for done in as_completed([pool.submit(_render_one, job, first, size, device) for first, size in missing]):
                ready += done.result()
                yield ready
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
