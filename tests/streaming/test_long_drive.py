"""A long drive with everything that goes wrong in recordings: no frame may be wrong without a word.

Messages arrive in their own time (compressed: stamps count, not the clock), late, or never; the recording loops, and its clock jumps. Each
frame's metres are held against ground truth and against their own sigma.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from drive import SECOND, Drive, header

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.streaming.evidence import ScaleSource
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings

HZ = 10.0
SETTINGS = StreamSettings(max_depth_m=120.0, watch_extrinsics=False)
#: A frame is wrong whose depth is off by more than this on average, or by more than three sigma too often.
WRONG_ABSREL, WRONG_SHARE = 0.10, 0.25


@dataclass
class Outcome:
    """What became of the frames of a drive."""

    kinds: Counter[str] = field(default_factory=Counter)
    silently_wrong: list[str] = field(default_factory=list)
    within: list[float] = field(default_factory=list)


class Arrivals:
    """The messages of a drive in the order in which they arrive, with what went wrong on the way."""

    def __init__(self, drive: Drive, seconds: float, seed: int) -> None:
        self._drive = drive
        self._rng = np.random.default_rng(seed)
        self._queue: list[tuple[float, int, str, int, int]] = []
        self._loop_frames = len(drive)
        self._plan(seconds)

    def _plan(self, seconds: float) -> None:
        rng, serial = self._rng, 0
        offset_ns, trouble = 0, "none"
        for number in range(int(seconds * HZ)):
            index = number % self._loop_frames
            now_s = number / HZ
            if index == 0 and number:
                # The recording starts again: its stamps go back, or on, or leap ahead.
                loop_ns = round(self._loop_frames / HZ * SECOND)
                offset_ns += rng.choice([0, loop_ns, loop_ns + 100 * SECOND])
            if number % 15 == 0:
                trouble = rng.choice(
                    ["none", "late sweeps", "no sweeps", "late odometry", "no odometry", "lost images"]
                )
            stamp_ns = self._drive.stamp_ns(index) + offset_ns
            sweep_s = 0.02 + (rng.uniform(0.05, 0.4) if trouble == "late sweeps" else 0.0)
            odometry_s = 0.01 + (rng.uniform(0.05, 0.4) if trouble == "late odometry" else 0.0)
            messages = [("image", 0.03, trouble == "lost images" and rng.random() < 0.7)]
            messages.append(("points", sweep_s, trouble == "no sweeps" or number % 2 == 1))
            messages.append(("odometry", odometry_s, trouble == "no odometry"))
            for kind, late_s, lost in messages:
                serial += 1
                if not lost:
                    heapq.heappush(self._queue, (now_s + late_s, serial, kind, index, stamp_ns))

    def __iter__(self) -> Iterator[tuple[float, str, int, int]]:
        while self._queue:
            now_s, _, kind, index, stamp_ns = heapq.heappop(self._queue)
            yield now_s, kind, index, stamp_ns


class Robot:
    """The streaming room between messages and metres, as the node puts it together."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.around = Surroundings(lambda source, error: None)
        self.around.add_transforms(drive.mounting(), is_static=True)
        self.around.info = drive.info(0)
        self.source = ScaleSource()
        self.clouds = [drive.cloud(index, lines=24, columns=120) for index in range(len(drive))]
        self.outcome = Outcome()
        self._waiting: list[tuple[float, int, int]] = []
        self._last_ns = 0

    def take(self, now_s: float, kind: str, index: int, stamp_ns: int) -> None:
        """A message that arrives."""
        self.look(now_s)
        if kind == "image":
            if stamp_ns < self._last_ns - SECOND:
                self.around.forget_time()
                self.source.reset()
                self._waiting.clear()
            self._last_ns = stamp_ns
            self._waiting.append((now_s + SETTINGS.max_wait_s, index, stamp_ns))
        elif kind == "points":
            cloud = self.clouds[index]
            cloud.header = header(stamp_ns, "lidar")
            self.around.add_points(cloud_at(cloud, stamp_ns))
        else:
            message = self.drive.odometry(index)
            message.transforms[0].header = header(stamp_ns, "odom")
            self.around.add_transforms(message, is_static=False)
        self.look(now_s)

    def look(self, now_s: float) -> None:
        """Work on the images that lack nothing or have waited long enough."""
        while self._waiting:
            until_s, index, stamp_ns = self._waiting[0]
            if now_s < until_s and self.around.awaits(header(stamp_ns, "optical"), SETTINGS):
                return
            self._waiting.pop(0)
            self._judge(index, stamp_ns)

    def _judge(self, index: int, stamp_ns: int) -> None:
        drive, outcome = self.drive, self.outcome
        given = self.around.frame(header(stamp_ns, "optical"), drive.rgb(index), self.around.info, SETTINGS)
        found = self.source.metric(given, guess(drive, index, stamp_ns), SETTINGS)
        if found.prediction is None:
            outcome.kinds["relative, and says why" if found.reason else "nothing"] += 1
            return
        truth, depth, sigma = drive.depth_m(index), found.prediction.evident_depth_m, found.prediction.uncertainty
        known = (truth > 0) & np.isfinite(depth)
        error = np.abs(depth[known] - truth[known])
        relative = float(np.mean(error / truth[known]))
        beyond = float(np.mean(error > 3 * sigma[known] + 0.02))
        outcome.within.append(float(np.mean(error <= sigma[known])))
        wrong = relative > WRONG_ABSREL or beyond > WRONG_SHARE
        word = "warned" if found.warnings else "plain"
        outcome.kinds[f"{word}, {'wrong' if wrong else 'right'}"] += 1
        if wrong and not found.warnings:
            outcome.silently_wrong.append(
                f"frame {index} at {stamp_ns / SECOND:.2f} s: AbsRel {relative:.3f}, {beyond:.0%} beyond 3 sigma; {found.evidence}"
            )


def cloud_at(cloud: Any, stamp_ns: int) -> Any:
    """The same points under another stamp."""
    copy = type(cloud)(**vars(cloud))
    copy.header = header(stamp_ns, "lidar")
    return copy


def guess(drive: Drive, index: int, stamp_ns: int) -> DepthPrediction:
    """A model's map: right but for smooth errors of some percent, of a scale of its own."""
    truth = np.where(drive.depth_m(index) > 0, drive.depth_m(index), 300.0)
    height, width = truth.shape
    bumps = np.random.default_rng([index, stamp_ns % 97]).normal(0, 0.15, (height // 8, width // 8))
    values = 0.3 * np.log(truth) + 0.05 * np.kron(bumps, np.ones((8, 8)))
    return DepthPrediction(values.astype(np.float32), Space.LOG_DEPTH)


def driven(seconds: float, seed: int = 0) -> Outcome:
    drive = Drive.rendered(3, frames=24, height=96, width=128, hz=HZ)
    robot = Robot(drive)
    for arrival in Arrivals(drive, seconds, seed):
        robot.take(*arrival)
    robot.look(float("inf"))
    return robot.outcome


@pytest.mark.parametrize("minutes", [0.15, pytest.param(30.0, marks=pytest.mark.slow)])
def test_no_frame_is_wrong_without_a_word(minutes: float) -> None:
    outcome = driven(60 * minutes)
    print(dict(outcome.kinds), f"within one sigma: {np.mean(outcome.within):.2f}")
    assert not outcome.silently_wrong
    assert outcome.kinds["nothing"] == 0
    assert outcome.kinds["plain, right"] > 0.3 * sum(outcome.kinds.values())
    assert outcome.kinds["warned, right"] + outcome.kinds["warned, wrong"] > 0  # trouble is told
