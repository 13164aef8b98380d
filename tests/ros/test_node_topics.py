"""Topics of the live node: encodings, QoS, outputs, laziness, garbage."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from ros_bench import HEIGHT, START_TIMEOUT_S, WIDTH, Bench, NodeProcess, camera_info, image, pixels, scene
from ros_pictures import HEIGHT as SCENE_HEIGHT
from ros_pictures import SCENE, encoded
from ros_pictures import WIDTH as SCENE_WIDTH
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from leadline.streaming.ros.encodings import IMAGE_ENCODINGS, decode_compressed_depth


def status(messages: list, task: str):
    """The newest status of a task."""
    return next((s for m in reversed(messages) for s in m.status if s.name == f"depth_node: {task}"), None)


def values_of(one) -> dict[str, str]:
    return {entry.key: entry.value for entry in one.values}


def test_every_encoding_is_answered_under_its_own_stamp(bench: Bench, shared_node: NodeProcess) -> None:
    answers = bench.listen(Image, "depth/relative")
    publisher = bench.publisher(Image, "image")
    assert bench.until(lambda: publisher.get_subscription_count() == 1)
    maps = {}
    for encoding in IMAGE_ENCODINGS:
        rows = np.ascontiguousarray(encoded(encoding))
        message = Image(height=SCENE_HEIGHT, width=SCENE_WIDTH, encoding=encoding, step=rows[0].nbytes)
        if encoding == "nv24":
            message.step = SCENE_WIDTH
        message.data.frombytes(rows.tobytes())
        message.header.frame_id = f"camera_{encoding}"
        message.header.stamp = bench.now()
        publisher.publish(message)
        answer = bench.until(lambda e=encoding: next((a for a in answers if a.header.frame_id == f"camera_{e}"), None))
        assert answer is not None, f"{encoding}:\n{shared_node.log}"
        assert answer.header == message.header
        assert (answer.encoding, answer.height, answer.width) == ("32FC1", SCENE_HEIGHT, SCENE_WIDTH)
        maps[encoding] = pixels(answer)
    # The same picture gives the same depth, whatever it was wrapped in.
    for encoding in ("bgr8", "rgba8", "bgra8", "rgb16", "bgr16"):
        np.testing.assert_array_equal(maps[encoding], maps["rgb8"])
    assert maps["rgb8"].min() == 0.0
    assert maps["rgb8"].max() == 1.0


@pytest.mark.parametrize("camera_reliable", [True, False])
@pytest.mark.parametrize("reader_reliable", [True, False])
def test_every_pairing_of_reliability_matches(
    bench: Bench, shared_node: NodeProcess, camera_reliable: bool, reader_reliable: bool
) -> None:
    answers = bench.listen(Image, "depth/relative", reliable=reader_reliable)
    publisher = bench.publisher(Image, "image", reliable=camera_reliable)
    assert bench.until(lambda: len(answers) >= 3, each=lambda: publisher.publish(image(bench)))


def test_compressed_input_is_chosen_live(bench: Bench, shared_node: NodeProcess) -> None:
    answers = bench.listen(Image, "depth/relative")
    publisher = bench.publisher(CompressedImage, "image/compressed")
    assert bench.set("/depth_node", image_transport="compressed") == [(True, "")]
    try:

        def send() -> None:
            message = CompressedImage(format="rgb8; jpeg compressed bgr8")
            message.header.stamp = bench.now()
            message.data.frombytes(cv2.imencode(".jpg", SCENE[..., ::-1])[1].tobytes())
            publisher.publish(message)

        assert bench.until(lambda: [a for a in answers if (a.height, a.width) == SCENE.shape[:2]], each=send)
    finally:
        bench.set("/depth_node", image_transport="raw")


def test_edges_and_steadiness_are_chosen_live(bench: Bench, shared_node: NodeProcess, models: dict[str, Path]) -> None:
    answers, publisher = bench.listen(Image, "depth"), bench.publisher(Image, "image")
    rng = np.random.default_rng(5)
    still = cv2.GaussianBlur(scene(), (0, 0), 2.0).astype(np.float32)
    film = [np.clip(still + rng.normal(0, 12, still.shape), 0, 255).astype(np.uint8) for _ in range(16)]

    def depth_of(picture: np.ndarray) -> np.ndarray:
        """Its map, however long the node takes; what was lost on the way is sent again."""
        stamps = []

        def send() -> None:
            message = image(bench, picture)
            stamps.append(message.header.stamp)
            publisher.publish(message)

        answered = lambda: [a for a in answers if a.header.stamp in stamps]  # noqa: E731
        assert bench.until(answered, 60.0, each=send, every_s=2.0), shared_node.log
        return pixels(answered()[0])

    def change() -> float:
        """Mean change from frame to frame of a still scene whose pictures are noisy, in metres."""
        maps = [depth_of(picture) for picture in film]
        return float(np.mean([np.abs(b - a).mean() for a, b in pairwise(maps[6:])]))

    accepted = bench.set("/depth_node", model="fiffdepth-mini", metric_scale=1.0, metric_shift=1.0)
    assert all(ok for ok, _ in accepted)
    try:
        loaded = lambda: "loaded fiffdepth-mini" in shared_node.log  # noqa: E731
        assert bench.until(loaded, START_TIMEOUT_S), shared_node.log
        plain = change()
        assert bench.set("/depth_node", steady=True, detail="edges") == [(True, ""), (True, "")]
        steady = change()
        assert steady < 0.6 * plain
        ((accepted, reason),) = bench.set("/depth_node", detail="tiles")
        assert not accepted
        assert "off, edges" in reason
        assert bench.get("/depth_node", "detail") == "edges"
    finally:
        back = {"model": str(models["depthfm"]), "metric_scale": 0.0, "metric_shift": 0.0}
        before = shared_node.log.count("loaded")
        bench.set("/depth_node", steady=False, detail="off", **back)
        assert bench.until(lambda: shared_node.log.count("loaded") > before, START_TIMEOUT_S), shared_node.log


def test_points_between_two_surfaces_can_be_left_out(bench: Bench, shared_node: NodeProcess) -> None:
    known = lambda cloud: int(np.isfinite(np.frombuffer(cloud.data, np.float32).reshape(-1, 5)[:, 2]).sum())  # noqa: E731
    clouds, images = bench.listen(PointCloud2, "depth/points"), bench.publisher(Image, "image")
    infos = bench.publisher(CameraInfo, "camera_info")

    def send() -> None:
        infos.publish(camera_info())
        images.publish(image(bench))

    bench.set("/depth_node", metric_scale=3.0, metric_shift=0.5)
    try:
        assert bench.until(lambda: clouds, each=send), shared_node.log
        whole = clouds[-1]
        bench.set("/depth_node", points_cut=0.1)
        assert bench.until(lambda: known(clouds[-1]) < known(whole), each=send), shared_node.log
        assert (clouds[-1].height, clouds[-1].width) == (whole.height, whole.width)
    finally:
        bench.set("/depth_node", points_cut=0.0, metric_scale=0.0, metric_shift=0.0)


def test_fixed_scale_makes_every_metric_output(bench: Bench, shared_node: NodeProcess) -> None:
    kinds = {
        "depth": Image,
        "depth/compressedDepth": CompressedImage,
        "depth/camera_info": CameraInfo,
        "depth/points": PointCloud2,
        "depth/preview": Image,
        "depth/preview/compressed": CompressedImage,
        "depth/relative": Image,
        "depth/uncertainty": Image,
    }
    answers = {topic: bench.listen(kind, topic) for topic, kind in kinds.items()}
    images, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")

    def send() -> None:
        infos.publish(camera_info())
        images.publish(image(bench))

    accepted = bench.set(
        "/depth_node", metric_scale=1.0, metric_shift=1.0, ensemble=2, min_depth_m=0.1, max_depth_m=4.0
    )
    assert all(ok for ok, _ in accepted)
    try:
        # One image for which every output is there.
        def complete():
            stamps = [{(m.header.stamp.sec, m.header.stamp.nanosec) for m in a} for a in answers.values()]
            return set.intersection(*stamps)

        stamp = bench.until(complete, 60.0, each=send)
        assert stamp, shared_node.log
        stamp = max(stamp)
        found = {
            topic: next(m for m in a if (m.header.stamp.sec, m.header.stamp.nanosec) == stamp)
            for topic, a in answers.items()
        }
        assert all(m.header.frame_id == "camera_optical" for m in found.values())
        depth = pixels(found["depth"])
        assert depth.shape == (HEIGHT, WIDTH)
        assert not np.isnan(depth).any()
        known = np.isfinite(depth)
        assert (depth[known] >= 0.1).all()
        assert (depth[known] <= 4.0).all()
        assert (depth[~known] == np.inf).all()
        sigma = pixels(found["depth/uncertainty"])
        assert (np.isnan(sigma) == ~known).all()
        assert (sigma[known] >= 0).all()
        packed = decode_compressed_depth(bytes(found["depth/compressedDepth"].data))
        np.testing.assert_allclose(packed[known], depth[known], rtol=1e-3)
        info = found["depth/camera_info"]
        assert (info.width, info.height, list(info.k)) == (WIDTH, HEIGHT, list(camera_info().k))
        cloud = found["depth/points"]
        assert [f.name for f in cloud.fields] == ["x", "y", "z", "rgb", "sigma"]
        xyz = np.frombuffer(cloud.data, np.float32).reshape(cloud.height, cloud.width, 5)
        np.testing.assert_array_equal(xyz[..., 2][known[::2, ::2]], depth[::2, ::2][known[::2, ::2]])
        np.testing.assert_array_equal(xyz[..., 4][known[::2, ::2]], sigma[::2, ::2][known[::2, ::2]])
        k = camera_info().k
        u = np.broadcast_to(np.arange(0, WIDTH, 2), xyz.shape[:2])
        np.testing.assert_allclose(
            xyz[..., 0][known[::2, ::2]], ((u - k[2]) / k[0] * xyz[..., 2])[known[::2, ::2]], rtol=1e-4, atol=1e-5
        )
        assert found["depth/preview"].encoding == "rgb8"
        assert len(found["depth/preview/compressed"].data) > 100

        # Millimetres on request.
        bench.set("/depth_node", depth_encoding="16UC1")
        sixteen = bench.until(lambda: [m for m in answers["depth"] if m.encoding == "16UC1"], each=send)
        assert sixteen
        millimetres = pixels(sixteen[0], np.uint16)
        exact = np.where(known, depth, 0).astype(np.float64)  # in float32, 2.4815 m may round the other way
        np.testing.assert_array_equal(millimetres, np.rint(exact * 1000))
    finally:
        bench.set(
            "/depth_node",
            metric_scale=0.0,
            metric_shift=0.0,
            ensemble=1,
            min_depth_m=0.05,
            max_depth_m=200.0,
            depth_encoding="32FC1",
        )


def test_nobody_listens_nothing_is_read(bench: Bench, shared_node: NodeProcess) -> None:
    publisher = bench.publisher(Image, "image")
    assert bench.until(lambda: publisher.get_subscription_count() == 0)
    answers = bench.listen(Image, "depth/preview")
    assert bench.until(lambda: publisher.get_subscription_count() == 1)
    assert bench.until(lambda: answers, each=lambda: publisher.publish(image(bench)))


def test_without_evidence_depth_stays_silent_and_the_reason_is_given(bench: Bench, shared_node: NodeProcess) -> None:
    depth, relative = bench.listen(Image, "depth"), bench.listen(Image, "depth/relative")
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    publisher = bench.publisher(Image, "image")
    assert bench.until(lambda: len(relative) > 3, each=lambda: publisher.publish(image(bench)))
    assert not depth
    assert bench.until(lambda: status(diagnostics, "scale") and status(diagnostics, "scale").level == b"\x01")
    assert "no points" in status(diagnostics, "scale").message
    assert shared_node.log.count("publishing on depth/relative, not on depth: no points") == 1


def test_garbage_is_logged_once_counted_and_survived(bench: Bench, shared_node: NodeProcess) -> None:
    relative = bench.listen(Image, "depth/relative")
    diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
    publisher, infos = bench.publisher(Image, "image"), bench.publisher(CameraInfo, "camera_info")
    clouds, sparse = bench.publisher(PointCloud2, "points"), bench.publisher(Image, "sparse_depth")

    def wrong(**changes) -> Image:
        message = image(bench)
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    garbage = [
        wrong(step=3),
        wrong(height=4000),
        wrong(height=0, width=0),
        wrong(encoding="holographic"),
        wrong(width=2**31, step=2**32 - 1),
        Image(),
    ]
    backwards = image(bench)
    backwards.header.stamp.sec -= 100
    good = image(bench)
    parts = ("step", "image data", "no pixels", "unknown image encoding", "time jumped back", "camera_info")

    def problems() -> dict[str, int]:
        one = status(diagnostics, "input")
        return {k: int(v) for k, v in values_of(one).items() if k.startswith("problem: ")} if one else {}

    for number in range(10):  # once more than once, and again as long as one was lost on the way
        if number > 1 and all(any(part in kind for kind in problems()) for part in parts):
            break
        for message in [*garbage, good, backwards]:
            before = len(diagnostics)
            message.header.stamp = backwards.header.stamp if message is backwards else bench.now()
            publisher.publish(message)
            bad_cloud = PointCloud2(height=1, width=10**6, point_step=0, row_step=0)
            bad_cloud.header.stamp = message.header.stamp
            clouds.publish(bad_cloud)
            sparse.publish(wrong(encoding="rgb8"))
            infos.publish(camera_info(width=999))
            bench.until(lambda before=before: len(diagnostics) > before, 3.0)
    answered = len(relative)
    assert bench.until(lambda: len(relative) > answered + 2, each=lambda: publisher.publish(image(bench)))
    assert bench.until(lambda: status(diagnostics, "model").level == b"\x00")
    for part in parts:
        assert any(part in kind for kind in problems()), (part, problems())
        assert shared_node.log.count(part) >= 1
    logged = [line for line in shared_node.log.splitlines() if "unknown image encoding 'holographic'" in line]
    assert len(logged) == 1


def test_stalled_and_frozen_cameras_are_reported(bench: Bench, shared_node: NodeProcess) -> None:
    bench.set("/depth_node", stall_timeout_s=0.5, static_timeout_s=1.0)
    try:
        relative = bench.listen(Image, "depth/relative")
        diagnostics = bench.listen(DiagnosticArray, "/diagnostics")
        publisher = bench.publisher(Image, "image")
        still = scene(7)
        assert bench.until(
            lambda: "frozen" in status(diagnostics, "input").message if status(diagnostics, "input") else False,
            each=lambda: publisher.publish(image(bench, still)),
        )
        seeds = iter(range(10_000))
        assert bench.until(
            lambda: "frozen" not in status(diagnostics, "input").message,
            each=lambda: publisher.publish(image(bench, scene(next(seeds)))),
        )
        assert relative
        assert bench.until(lambda: status(diagnostics, "input").level == b"\x03")
        assert "no image for" in status(diagnostics, "input").message
    finally:
        bench.set("/depth_node", stall_timeout_s=2.0, static_timeout_s=10.0)
