"""`leadline bag`: real bags in, the same bags with depth out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from test_encodings import SCENE

from leadline.cli.bag import command
from leadline.errors import InputError
from leadline.streaming import bags
from leadline.streaming.journal import Entry, Journal
from leadline.streaming.settings import StreamSettings

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
HEIGHT, WIDTH = SCENE.shape[:2]
SECOND = 1_000_000_000
IMAGES = 6


def header(stamp_ns: int, frame: str) -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    return TYPES["std_msgs/msg/Header"](stamp=time, frame_id=frame)


def image_message(stamp_ns: int, rgb: np.ndarray, step: int | None = None) -> Any:
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp_ns, "optical"), height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0,
        step=step or WIDTH * 3, data=np.ascontiguousarray(rgb).reshape(-1),
    )  # fmt: skip


def info_message(stamp_ns: int) -> Any:
    k = np.array([40.0, 0, (WIDTH - 1) / 2, 0, 40, (HEIGHT - 1) / 2, 0, 0, 1])
    p = np.array([40.0, 0, (WIDTH - 1) / 2, 0, 0, 40, (HEIGHT - 1) / 2, 0, 0, 0, 1, 0])
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, "optical"), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob",
        d=np.zeros(5), k=k, r=np.eye(3).ravel(), p=p, binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def write_bag(path: Path, plugin: StoragePlugin) -> Path:
    """Images at 10 Hz, one of them broken; calibration; a topic of a type that is nobody's business; odd QoS."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        images = writer.add_connection("/front/image_raw", "sensor_msgs/msg/Image", typestore=STORE)
        infos = writer.add_connection("/front/camera_info", "sensor_msgs/msg/CameraInfo", typestore=STORE)
        odd = writer.add_connection(
            "/odd", "nobody_msgs/msg/Odd", msgdef="uint8[] content\n", rihs01="RIHS01_" + "ab" * 32
        )
        rng = np.random.default_rng(0)
        for i in range(IMAGES):
            stamp_ns = 1000 * SECOND + i * SECOND // 10
            rgb = np.roll(SCENE, 3 * i, axis=1)
            step = 7 if i == 2 else None
            message = image_message(stamp_ns, rgb, step)
            writer.write(infos, stamp_ns, STORE.serialize_cdr(info_message(stamp_ns), infos.msgtype))
            writer.write(odd, stamp_ns + 1, b"\x00\x01\x00\x00" + rng.bytes(50 + i))
            writer.write(images, stamp_ns + 2_000_000, STORE.serialize_cdr(message, images.msgtype))
    return path


def everything(path: Path) -> tuple[list[tuple[str, int, bytes]], dict[str, tuple]]:
    with Reader(path) as reader:
        messages = [(c.topic, stamp, bytes(raw)) for c, stamp, raw in reader.messages()]
        # A single file read without its metadata.yaml has no type hashes.
        hashes = path.is_dir()
        topics = {
            c.topic: (c.msgtype, c.msgdef.data, c.digest if hashes else "", str(c.ext)) for c in reader.connections
        }
    return messages, topics


def arguments(source: Path, output: Path, model: Path, *more: str) -> list[str]:
    return [str(source), "-o", str(output), "--image", "/front/image_raw", "-m", str(model), "--device", "cpu", *more]


METRIC = ("--set", "metric_scale=1", "--set", "metric_shift=1.0", "--ensemble", "2")


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("suffix", [".mcap", ".db3", ""])
def test_depth_is_added_and_everything_else_is_kept(
    tmp_path: Path, models: dict[str, Path], plugin: StoragePlugin, suffix: str
) -> None:
    source = write_bag(tmp_path / "in", plugin)
    output = tmp_path / f"out{suffix}"
    more = (*METRIC, "--add", "depth,uncertainty,camera_info,relative,preview")
    result = CliRunner().invoke(command, arguments(source, output, models["depthfm"], *more), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    before, topics_before = everything(source)
    after, topics_after = everything(output)
    assert [m for m in after if m[0] in topics_before] == before
    if output.is_file():
        topics_before = {topic: (*one[:2], "", one[3]) for topic, one in topics_before.items()}
    assert {topic: topics_after[topic] for topic in topics_before} == topics_before
    assert [stamp for _, stamp, _ in after] == sorted(stamp for _, stamp, _ in after)
    added = {topic: [m for m in after if m[0] == topic] for topic in topics_after if topic not in topics_before}
    assert set(added) == {f"/front/depth{s}" for s in ("", "/uncertainty", "/camera_info", "/relative", "/preview")}
    assert all(len(messages) == IMAGES - 1 for messages in added.values())  # one image is broken
    images = [m for m in before if m[0] == "/front/image_raw"]
    for (_, stamp, raw), (_, image_stamp, image_raw) in zip(
        added["/front/depth"], [m for i, m in enumerate(images) if i != 2], strict=True
    ):
        depth = STORE.deserialize_cdr(raw, "sensor_msgs/msg/Image")
        image = STORE.deserialize_cdr(image_raw, "sensor_msgs/msg/Image")
        assert (stamp, depth.header) == (image_stamp, image.header)
        assert (depth.encoding, depth.height, depth.width) == ("32FC1", HEIGHT, WIDTH)
        metres = depth.data.view(np.float32)
        assert (metres > 0).all()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob("*.journal"))


def test_lidar_is_found_through_tf_and_after_the_image(tmp_path: Path, models: dict[str, Path]) -> None:
    """Points recorded 40 ms behind the image of the same moment, their place known from /tf_static and a moving /tf."""
    vector, quaternion = TYPES["geometry_msgs/msg/Vector3"], TYPES["geometry_msgs/msg/Quaternion"]
    field = TYPES["sensor_msgs/msg/PointField"]

    def transform(parent: str, child: str, stamp_ns: int, shift: tuple, turn: tuple) -> Any:
        return TYPES["geometry_msgs/msg/TransformStamped"](
            header=header(stamp_ns, parent), child_frame_id=child,
            transform=TYPES["geometry_msgs/msg/Transform"](vector(*shift), quaternion(*turn)),
        )  # fmt: skip

    start = 1000 * SECOND
    v, u = (axis.ravel() for axis in np.indices((HEIGHT, WIDTH))[:, ::2, ::2])
    depth = 2.0 + 3.0 * v / HEIGHT
    k = info_message(0).k.reshape(3, 3)
    optical = (np.linalg.solve(k, np.stack([u, v, np.ones(len(u))])) * depth).T
    # Optical axes to the LiDAR's (x forward, y left, z up), which stands 0.2 m above and turns with "mast".
    lidar = np.column_stack([optical[:, 2], -optical[:, 0], -optical[:, 1]]) - (0.0, 0.0, 0.2)
    with Writer(tmp_path / "in", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection("/front/image_raw", "sensor_msgs/msg/Image", typestore=STORE)
        infos = writer.add_connection("/front/camera_info", "sensor_msgs/msg/CameraInfo", typestore=STORE)
        clouds = writer.add_connection("/lidar", "sensor_msgs/msg/PointCloud2", typestore=STORE)
        moving = writer.add_connection("/tf", "tf2_msgs/msg/TFMessage", typestore=STORE)
        static = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=STORE)

        def write(connection: Any, stamp_ns: int, message: Any) -> None:
            writer.write(connection, stamp_ns, STORE.serialize_cdr(message, connection.msgtype))

        tf = TYPES["tf2_msgs/msg/TFMessage"]
        for i in range(3):
            now = start + i * SECOND // 2
            write(moving, now, tf([transform("base", "mast", now, (0.0, 0.0, 0.2), (0.0, 0.0, 0.0, 1.0))]))
            write(infos, now, info_message(now))
            write(images, now, image_message(now, SCENE))
            data = lidar.astype(np.float32)
            fields = [field(name, 4 * n, 7, 1) for n, name in enumerate("xyz")]
            cloud = TYPES["sensor_msgs/msg/PointCloud2"](
                header=header(now + 10_000_000, "lidar"), height=1, width=len(data), fields=fields, is_bigendian=False,
                point_step=12, row_step=12 * len(data), data=data.reshape(-1).view(np.uint8), is_dense=True,
            )  # fmt: skip
            write(clouds, now + 40_000_000, cloud)
        turned = (-0.5, 0.5, -0.5, 0.5)  # of the optical axes in base's
        both = [
            transform("mast", "lidar", 0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
            transform("base", "optical", 0, (0.0, 0.0, 0.0), turned),
        ]
        write(static, start + 2 * SECOND, tf(both))  # latched transforms may be recorded late
    output = tmp_path / "out.mcap"
    more = ("--points", "/lidar", "--set", "sync_tolerance_s=0.1", "--set", "hold_s=0")
    result = CliRunner().invoke(
        command, arguments(tmp_path / "in", output, models["depthfm"], *more), catch_exceptions=False
    )
    assert "0 could not be used" in result.output
    answers = [raw for topic, _, raw in everything(output)[0] if topic == "/front/depth"]
    assert len(answers) == 3, result.output
    for raw in answers:
        metres = STORE.deserialize_cdr(raw, "sensor_msgs/msg/Image").data.view(np.float32).reshape(HEIGHT, WIDTH)
        assert np.median(np.abs(metres[v, u] - depth)) < 0.02


def test_broken_run_continues_and_gives_the_same(tmp_path: Path, models: dict[str, Path], monkeypatch) -> None:
    from leadline.streaming.pipeline import DepthPipeline

    source = write_bag(tmp_path / "in", StoragePlugin.MCAP)
    whole, broken = tmp_path / "whole.mcap", tmp_path / "broken.mcap"
    CliRunner().invoke(command, arguments(source, whole, models["depthfm"], *METRIC), catch_exceptions=False)
    processed: list[int] = []
    process = DepthPipeline.process

    def interrupted(self, frame, settings, on_progress=None):
        if len(processed) == 3:
            raise KeyboardInterrupt
        processed.append(frame.stamp_ns)
        return process(self, frame, settings, on_progress)

    monkeypatch.setattr(DepthPipeline, "process", interrupted)
    assert CliRunner().invoke(command, arguments(source, broken, models["depthfm"], *METRIC)).exit_code != 0
    assert not broken.exists()
    journal = broken.with_name("broken.mcap.journal")
    journal.write_bytes(journal.read_bytes() + b"\x05\x00half a record")  # as a crash leaves it
    processed.clear()
    processed.extend([0, 0, 0, 0])  # past the interruption
    result = CliRunner().invoke(command, arguments(source, broken, models["depthfm"], *METRIC), catch_exceptions=False)
    assert len(processed) - 4 == 2  # 5 usable images, 3 of them done before
    assert "by an earlier run" in result.output
    assert everything(broken) == everything(whole)


def test_other_settings_start_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, {"steps": 1}) as journal:
        journal.commit([Entry(5, 0, b"abc"), Entry(6, 1, b"")])
        journal.commit([])
    with Journal(path, {"steps": 1}) as journal:
        assert journal.steps == 2
        assert list(journal.entries()) == [Entry(5, 0, b"abc"), Entry(6, 1, b"")]
    with Journal(path, {"steps": 2}) as journal:
        assert journal.steps == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--image", "/nowhere"], "/front/image_raw"),
        (["--image", "/odd"], "nobody_msgs"),
        (["--points", "/front/image_raw"], "PointCloud2"),
        (["--add", "everything"], "--add"),
        (["--set", "max_depth_m=far"], "max_depth_m"),
        (["--set", "nonsense=1"], "--set"),
        (["--prefix", "/front/image_raw"], "--prefix"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, models: dict[str, Path], change: list[str], word: str) -> None:
    source = write_bag(tmp_path / "in", StoragePlugin.MCAP)
    with pytest.raises(InputError, match=word):
        CliRunner().invoke(
            command, [*arguments(source, tmp_path / "out.mcap", models["depthfm"]), *change], catch_exceptions=False
        )


def test_what_is_no_bag_is_named(tmp_path: Path, models: dict[str, Path]) -> None:
    for name, content in (("a.mcap", b"not a bag"), ("b.db3", b""), ("c.txt", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            CliRunner().invoke(
                command, arguments(tmp_path / name, tmp_path / "out.mcap", models["depthfm"]), catch_exceptions=False
            )
    existing = tmp_path / "out.mcap"
    existing.write_bytes(b"precious")
    source = write_bag(tmp_path / "in", StoragePlugin.MCAP)
    with pytest.raises(InputError, match="exists"):
        CliRunner().invoke(command, arguments(source, existing, models["depthfm"]), catch_exceptions=False)


@pytest.mark.parametrize(
    ("given", "steps", "size"),
    [((), 0, 0), (("--size", "0"), 0, -1), (("--size", "96", "--steps", "3"), 3, 96)],
)
def test_sizes_and_steps_reach_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], steps: int, size: int
) -> None:
    """Unset is the model's default (0 in a stream) and 0 the image's own size (-1 there)."""
    seen: list[StreamSettings] = []

    def run(job: bags.BagJob, out: Path, settings: StreamSettings, *rest: object) -> bags.BagReport:
        seen.append(settings)
        return bags.BagReport()

    monkeypatch.setattr(bags, "run", run)
    CliRunner().invoke(command, arguments(tmp_path, tmp_path / "out", tmp_path, *given), catch_exceptions=False)
    assert [(one.steps, one.size) for one in seen] == [(steps, size)]
