"""Several cameras in one process: topics, settings and diagnostics of their own, one model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_bench import HEIGHT, WIDTH, Bench, NodeProcess, camera_info, image, pixels, scene
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_node_lidar import cloud
from test_node_topics import status, values_of

CAMERAS = ("front", "left", "rear")


@pytest.fixture(scope="module")
def node(_bench: Bench, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    log = tmp_path_factory.mktemp("cameras") / "node.log"
    own = {"rear.max_depth_m": 5, "left.metric_scale": 2.0, "diagnostics_period_s": 0.2}
    started = NodeProcess(
        log, "-r", "__ns:=/robot", model=models["depthfm"], device="cpu", cameras="[front,left,rear]", **own
    )
    _bench.wait_for_state("/robot/depth_node", "active")
    yield started
    assert started.stop() == 0, started.log
    assert "Traceback" not in started.log, started.log


def test_each_camera_is_answered_under_its_own_stamp_by_its_own_settings(bench: Bench, node: NodeProcess) -> None:
    depth = {name: bench.listen(Image, f"/robot/{name}/depth") for name in CAMERAS}
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    images = {name: bench.publisher(Image, f"/robot/{name}/image") for name in CAMERAS}
    infos = {name: bench.publisher(CameraInfo, f"/robot/{name}/camera_info") for name in CAMERAS}
    clouds = bench.publisher(PointCloud2, "/robot/points")
    rng = np.random.default_rng(0)
    k = np.array(camera_info().k).reshape(3, 3)
    u, v, z = rng.uniform(0, WIDTH - 1, 400), rng.uniform(0, HEIGHT - 1, 400), rng.uniform(3, 9, 400)
    points = np.column_stack([(np.linalg.solve(k, np.stack([u, v, np.ones(400)])) * z).T, np.ones(400)])
    sent: dict[str, set[tuple[int, int]]] = {name: set() for name in CAMERAS}

    def send() -> None:
        clouds.publish(cloud(bench, points, "optical"))
        for number, name in enumerate(CAMERAS):
            message = image(bench, scene(number), "optical" if name != "left" else "elsewhere")
            sent[name].add((message.header.stamp.sec, message.header.stamp.nanosec))
            infos[name].publish(camera_info())
            images[name].publish(message)

    assert bench.until(lambda: all(len(depth[name]) > 3 for name in CAMERAS), 60.0, each=send), node.log
    for name in CAMERAS:
        stamps = [(one.header.stamp.sec, one.header.stamp.nanosec) for one in depth[name]]
        assert set(stamps) <= sent[name]
        assert stamps == sorted(stamps)
    front, rear = (pixels(depth[name][-1]) for name in ("front", "rear"))
    assert np.isfinite(front).mean() > 0.9
    assert front[np.isfinite(front)].max() > 6.0  # its points reach to 9 m
    assert np.isposinf(rear).any()
    assert rear[np.isfinite(rear)].max() <= 5.0  # its own max_depth_m
    assert depth["left"][-1].header.frame_id == "elsewhere"

    def scale(name: str) -> str:
        found = next((s for m in reversed(diagnostics) for s in m.status if s.name.endswith(f": {name} scale")), None)
        return found.message if found else ""

    assert bench.until(lambda: "measured points" in scale("front"), each=send), scale("front")
    # Where the LiDAR is in the third camera's frame nobody knows; its own scale is.
    assert bench.until(lambda: "metric_scale" in scale("left"), each=send), scale("left")


def test_a_camera_that_nobody_asks_for_is_not_read_and_a_broken_one_leaves_the_others_alone(
    bench: Bench, node: NodeProcess
) -> None:
    front = bench.listen(Image, "/robot/front/depth/relative")
    left = bench.listen(Image, "/robot/left/depth/relative")
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    images = {name: bench.publisher(Image, f"/robot/{name}/image") for name in CAMERAS}
    assert bench.until(lambda: images["front"].get_subscription_count() and images["left"].get_subscription_count())
    assert bench.until(lambda: images["rear"].get_subscription_count() == 0)
    bench.until(lambda: False, 1.0)

    begun_s = bench.now().sec

    def send() -> None:
        images["front"].publish(image(bench, scene(1)))
        broken = image(bench, scene(2))
        broken.encoding = "no such encoding"
        images["left"].publish(broken)

    assert bench.until(lambda: len(front) > 4, 60.0, each=send), node.log
    assert [one for one in left if one.header.stamp.sec >= begun_s] == []

    def model() -> dict[str, str]:
        one = next((s for m in reversed(diagnostics) for s in m.status if s.name.endswith("depth_node: model")), None)
        return values_of(one) if one else {}

    assert bench.until(lambda: int(model().get("left frames failed", 0)) > 0, each=send)
    assert int(model()["front frames failed"]) == 0
    assert "left frame: image encoding" in node.log or "no such encoding" in node.log


def test_own_parameters_change_alone_and_are_held_against_the_others(bench: Bench, node: NodeProcess) -> None:
    name = "/robot/depth_node"
    assert bench.get(name, "rear.max_depth_m") == 5
    assert bench.get(name, "front.max_depth_m") is None  # none of its own: the node's counts
    ((accepted, reason),) = bench.set(name, **{"front.max_depth_m": 0.01})
    assert not accepted
    assert "min_depth_m" in reason
    assert bench.set(name, **{"front.max_depth_m": 30}) == [(True, "")]
    assert bench.get(name, "front.max_depth_m") == 30
    ((accepted, reason),) = bench.set(name, **{"front.track_points": "perhaps"})
    assert not accepted
    assert "track_points" in reason


def test_names_that_are_none_end_the_start_with_one_line(models: dict[str, Path], tmp_path: Path) -> None:
    wrong = NodeProcess(tmp_path / "node.log", model=models["depthfm"], cameras="[front,front]")
    assert wrong.process.wait(240.0) == 1
    assert wrong.log.splitlines()[-1].startswith("depth_node: cameras has 'front'")


def test_a_node_with_one_camera_says_it_as_ever(bench: Bench, shared_node: NodeProcess) -> None:
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    for task in ("input", "model", "scale"):
        assert bench.until(lambda task=task: status(diagnostics, task))
