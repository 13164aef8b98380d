"""LiDAR and sparse depth as real messages: completion, extrinsics, synchronisation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_bench import HEIGHT, WIDTH, Bench, NodeProcess, camera_info, image, pixels, scene
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from test_node_topics import status, values_of

REPOSITORY = Path(__file__).resolve().parents[2]
EVAL_DEV = Path(os.environ.get("LEADLINE_EVAL_DEV", REPOSITORY.parent / "shared" / "eval_dev"))
KITTI = EVAL_DEV / "lidar_kitti_000000"


def cloud(bench: Bench, points: np.ndarray, frame_id: str, stamp=None) -> PointCloud2:
    """A Velodyne-like cloud: x, y, z, intensity in 16 bytes, and a NaN."""
    points = np.vstack([points[:, :4], [[np.nan] * 4]]).astype(np.float32)
    message = PointCloud2(height=1, width=len(points), point_step=16, row_step=16 * len(points), is_dense=False)
    message.fields = [
        PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate(["x", "y", "z", "intensity"])
    ]
    message.header.frame_id, message.header.stamp = frame_id, stamp or bench.now()
    message.data.frombytes(points.tobytes())
    return message


@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs the evaluation frames (LEADLINE_EVAL_DEV), not at {EVAL_DEV}")
def test_kitti_frame_is_completed_from_its_own_topics(bench: Bench, shared_node: NodeProcess) -> None:
    calibration = json.loads((KITTI / "calib.json").read_text())["equivalent"]
    rgb = np.ascontiguousarray(cv2.imread(str(KITTI / "image_native.jpg"))[..., ::-1])
    points = np.load(KITTI / "points.npz")["points"]
    expected = np.load(KITTI / "expected_depth_native.npz")["depth"]
    motion, k = np.array(calibration["T_lidar_to_cam2"]), np.array(calibration["K"])
    info = camera_info(rgb.shape[1], rgb.shape[0])
    info.k = k.ravel().tolist()

    depth, sigma = bench.listen(Image, "depth"), bench.listen(Image, "depth/uncertainty")
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    images, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")
    clouds = bench.publisher(PointCloud2, "points")
    ((accepted, reason),) = bench.set("/depth_node", extrinsics=motion.ravel().tolist())
    assert accepted, reason

    def send() -> None:
        infos.publish(info)
        clouds.publish(cloud(bench, points, "velodyne"))
        images.publish(image(bench, rgb))

    try:
        assert bench.until(lambda: depth and sigma, 60.0, each=send), shared_node.log
        metres, one_sigma = pixels(depth[0]), pixels(sigma[0])
        measured = expected > 0
        assert metres.shape == expected.shape
        assert np.isfinite(metres[measured]).all()
        # A random network knows nothing, so this is what the points alone carry through the whole chain: the map runs
        # through them, but for what the occlusion filter drops.
        error = np.abs(metres[measured] - expected[measured])
        assert np.median(error) < 0.05
        assert (error < 0.05 * expected[measured] + 0.1).mean() > 0.85
        assert (one_sigma[np.isfinite(metres)] > 0).all()
        scale = bench.until(
            lambda: status(diagnostics, "scale") if "points" in status(diagnostics, "scale").message else None
        )
        assert values_of(scale)["extrinsics"] == "parameter extrinsics"
    finally:
        bench.set("/depth_node", extrinsics=[0.0])


def test_synchronisation_holds_and_lets_go(bench: Bench, shared_node: NodeProcess) -> None:
    """Points in time are used; for a while their fit is; then depth falls silent rather than guess."""
    depth, relative = bench.listen(Image, "depth"), bench.listen(Image, "depth/relative")
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    images, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")
    clouds = bench.publisher(PointCloud2, "points")
    rng = np.random.default_rng(0)
    k = np.array(camera_info().k).reshape(3, 3)
    u, v, z = rng.uniform(0, WIDTH - 1, 400), rng.uniform(0, HEIGHT - 1, 400), rng.uniform(2, 9, 400)
    points = np.column_stack([(np.linalg.solve(k, np.stack([u, v, np.ones(400)])) * z).T, np.ones(400)])

    def evidence() -> str:
        one = status(diagnostics, "scale")
        return one.message if one else ""

    sent: list[tuple[int, int]] = []

    def send(late_s: float) -> None:
        infos.publish(camera_info())
        message = image(bench, scene(2))
        stamp = message.header.stamp
        sent.append((stamp.sec, stamp.nanosec))
        nanoseconds = stamp.sec * 10**9 + stamp.nanosec - int(late_s * 1e9)
        if late_s < 60:
            old = cloud(bench, points, "camera_optical")
            old.header.stamp.sec, old.header.stamp.nanosec = divmod(nanoseconds, 10**9)
            clouds.publish(old)
        images.publish(message)

    bench.set("/depth_node", sync_tolerance_s=0.05, hold_s=0.4)
    try:
        assert bench.until(lambda: "measured points" in evidence() and depth, 60.0, each=lambda: send(0.02)), (
            shared_node.log
        )
        assert bench.until(
            lambda: values_of(status(diagnostics, "scale"))["extrinsics"].startswith("not needed"),
            each=lambda: send(0.02),
        )
        assert bench.until(lambda: evidence().startswith("relative"), 60.0, each=lambda: send(0.5))
        bench.until(lambda: False, 1.0, each=lambda: send(100.0))  # longer than the last fit is held
        sent.clear()

        def answered(messages: list) -> set:
            return {(m.header.stamp.sec, m.header.stamp.nanosec) for m in messages} & set(sent)

        assert bench.until(lambda: len(answered(relative)) > 3, each=lambda: send(100.0))
        assert not answered(depth)
    finally:
        bench.set("/depth_node", sync_tolerance_s=0.1, hold_s=0.5)


def test_sparse_depth_image_of_another_size(bench: Bench, shared_node: NodeProcess) -> None:
    depth = bench.listen(Image, "depth")
    images, sparse = bench.publisher(Image, "image"), bench.publisher(Image, "sparse_depth")
    millimetres = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint16)
    millimetres[::4, ::4] = 3500

    def send() -> None:
        message = Image(height=HEIGHT // 2, width=WIDTH // 2, encoding="16UC1", step=WIDTH)
        message.data.frombytes(millimetres.tobytes())
        message.header.stamp = bench.now()
        sparse.publish(message)
        images.publish(image(bench))

    bench.trigger("/depth_node/reset")
    assert bench.until(lambda: depth and abs(np.median(pixels(depth[-1])) - 3.5) < 0.05, 60.0, each=send), (
        shared_node.log
    )


def test_unknown_place_of_the_lidar_is_said_once(bench: Bench, shared_node: NodeProcess) -> None:
    bench.set("/depth_node", hold_s=0.0)
    bench.until(lambda: False, 2.0)  # whatever an earlier test sent is answered, and out of the tolerance
    try:
        depth, relative = bench.listen(Image, "depth"), bench.listen(Image, "depth/relative")
        images, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")
        clouds = bench.publisher(PointCloud2, "points")

        def send() -> None:
            infos.publish(camera_info())
            clouds.publish(cloud(bench, np.ones((5, 4)), "somewhere"))
            images.publish(image(bench))

        assert bench.until(lambda: len(relative) > 3, each=send)
        assert bench.until(lambda: "no transform from 'somewhere'" in shared_node.log, each=send)
        bench.until(lambda: False, 0.5, each=send)
        assert shared_node.log.count("no transform from 'somewhere'") == 1
        assert not depth
    finally:
        bench.set("/depth_node", hold_s=0.5)


def test_camera_height_over_flat_ground_gives_metres(tmp_path: Path) -> None:
    """The fit itself, on a map that is right: flat ground, a wall, and a model's affine map of both."""
    from leadline.depth.prediction import DepthPrediction
    from leadline.depth.spaces import Space
    from leadline.sensors.camera import CalibratedCamera
    from leadline.sensors.ground import entered_ground
    from leadline.sensors.pinhole import Pinhole
    from leadline.streaming.evidence import ScaleSource
    from leadline.streaming.frames import Frame
    from leadline.streaming.settings import StreamSettings

    camera = CalibratedCamera.from_pinhole(Pinhole(WIDTH, HEIGHT, 120.0))
    v, u = np.indices((HEIGHT, WIDTH))
    rays = camera.unproject(np.stack([u.ravel(), v.ravel()], 1), np.ones(u.size)).reshape(HEIGHT, WIDTH, 3)
    pitch = np.deg2rad(10.0)
    descent = rays[..., 1] * np.cos(pitch) + np.sin(pitch)
    ground_m = np.where(descent > 1e-3, 1.3 / np.maximum(descent, 1e-3), np.inf)
    truth = np.minimum(ground_m, 12.0)
    rng = np.random.default_rng(0)
    settings = StreamSettings()
    frame = Frame(0, np.zeros((HEIGHT, WIDTH, 3), np.uint8), camera, ground=entered_ground(1.3, 10.0))
    for space in Space:
        values = ((space.from_depth(truth) - 0.3) / 0.7 + rng.normal(0, 0.002, truth.shape)).astype(np.float32)
        found = ScaleSource().metric(frame, DepthPrediction(values, space), settings)
        assert found.evidence == "camera height over flat ground"
        assert np.median(np.abs(found.prediction.depth_m - truth) / truth) < 0.03, space
    nonsense = DepthPrediction(rng.normal(size=truth.shape).astype(np.float32), Space.LOG_DEPTH)
    refused = ScaleSource().metric(frame, nonsense, settings)
    assert refused.prediction is None
    assert "flat ground" in refused.reason
