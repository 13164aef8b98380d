"""The shipped parameters with an ordinary LiDAR driver: a sweep is stamped at its start and published when it is over."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from places import ROOT
from ros_bench import HEIGHT, WIDTH, Bench, NodeProcess, camera_info, image, scene
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_node_lidar import cloud
from test_node_topics import status, values_of

LATE_S = 0.11


def stamp_of(time_s: float) -> Time:
    return Time(sec=int(time_s), nanosec=int(time_s % 1 * 1e9))


def seconds(stamp: Time) -> float:
    return stamp.sec + 1e-9 * stamp.nanosec


@pytest.mark.parametrize(("camera_hz", "speed"), [(10, 1.0), (30, 0.5), (10, 0.25)])
def test_sweeps_that_come_late_give_metres(
    bench: Bench, models: dict[str, Path], tmp_path: Path, camera_hz: int, speed: float
) -> None:
    """Also from a recording at a part of its speed, where a sweep comes up to 0.44 s late by the computer's clock."""
    parameters = ["--params-file", str(ROOT / "config" / "lidar.yaml")]
    simulated = speed != 1.0
    node = NodeProcess(
        tmp_path / "node.log", *parameters, model=models["depthfm"], device="cpu", diagnostics_period_s=0.2,
        use_sim_time=simulated,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    k = np.array(camera_info().k).reshape(3, 3)
    u, v, z = rng.uniform(0, WIDTH - 1, 400), rng.uniform(0, HEIGHT - 1, 400), rng.uniform(2, 9, 400)
    points = np.column_stack([(np.linalg.solve(k, np.stack([u, v, np.ones(400)])) * z).T, np.ones(400)])
    picture = scene(2)
    try:
        bench.wait_for_state("/depth_node", "active")
        depth, relative = bench.listen(Image, "depth"), bench.listen(Image, "depth/relative")
        diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
        images, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")
        clouds, clock = bench.publisher(PointCloud2, "points"), bench.publisher(Clock, "/clock")
        assert bench.until(lambda: images.get_subscription_count() and clouds.get_subscription_count())
        overdue: list[float] = []  # sweeps that this busy machine published later than any driver

        def metric() -> set[float]:
            return {seconds(message.header.stamp) for message in depth}

        def judged() -> set[float]:
            """From the first sweep on, and up to the last metres: a relative map may be here a moment before its own."""
            answered, good = {seconds(message.header.stamp) for message in relative}, metric()
            return {
                at
                for at in answered
                if good and min(good) <= at <= max(good) and all(abs(at - o) > 0.1 for o in overdue)
            }

        started, under_way, frames = time.monotonic(), [], 0
        while time.monotonic() < started + 90.0 and len(judged()) < 12:
            now_s = 1000.0 + speed * (time.monotonic() - started)
            if simulated:
                clock.publish(Clock(clock=stamp_of(now_s)))
            if now_s >= 1000.0 + frames / camera_hz:
                message = image(bench, picture)
                if simulated:
                    message.header.stamp = stamp_of(now_s)
                infos.publish(camera_info())
                images.publish(message)
                if frames % (camera_hz // 10) == 0:
                    under_way.append((now_s + LATE_S, message.header.stamp))
                frames += 1
            while under_way and now_s >= under_way[0][0]:
                due_s, stamp = under_way.pop(0)
                clouds.publish(cloud(bench, points, "camera_optical", stamp))
                if 1000.0 + speed * (time.monotonic() - started) > due_s + 0.03:
                    overdue.append(seconds(stamp))
            bench.executor.spin_once(timeout_sec=0.005)

        assert len(judged()) > 5, node.log
        assert len(judged() & metric()) >= 0.95 * len(judged()), (judged(), metric(), overdue, node.log)

        def gap_is_told() -> bool:  # by a later message: the newest at hand may be from before the frames
            one = status(diagnostics, "scale")
            return one is not None and "points older than their image (ms)" in values_of(one)

        assert bench.until(gap_is_told)
    finally:
        assert node.stop() == 0, node.log
