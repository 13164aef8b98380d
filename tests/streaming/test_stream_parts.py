"""Transforms, synchronisation, slot and statistics."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp
from waiting import until

from leadline.errors import CheckpointError, InputError
from leadline.sensors.transforms import TransformTree, matrix_from, parse_extrinsics
from leadline.streaming.buffers import Complaints, LossMeter, RateMeter, RunningMean, StampedBuffer
from leadline.streaming.lanes import Lanes
from leadline.streaming.pipeline import predict_options
from leadline.streaming.problems import kind_of
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tuned import WORKER, _Waiting
from leadline.streaming.waiting import WaitingFrames
from leadline.streaming.worker import StreamWorker

SECOND = 1_000_000_000


def rigid(rotation: Rotation, translation: list[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation.as_matrix(), translation
    return matrix


def test_static_chain_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    turns, shifts = Rotation.random(3, random_state=0), rng.normal(size=(3, 3))
    tree = TransformTree()
    for parent, child, turn, shift in zip(
        ["base", "base", "camera"], ["lidar", "camera", "optical"], turns, shifts, strict=True
    ):
        tree.add(parent, child, 0, shift, turn.as_quat(), is_static=True)
    lidar, camera, optical = (rigid(turn, shift) for turn, shift in zip(turns, shifts, strict=True))
    expected = np.linalg.inv(camera @ optical) @ lidar
    np.testing.assert_allclose(tree.lookup("optical", "/lidar", 5 * SECOND).motion, expected, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("lidar", "optical", 0).motion, np.linalg.inv(expected), atol=1e-12)
    assert tree.lookup("optical", "elsewhere", 0) is None


def test_moving_frames_are_interpolated() -> None:
    tree = TransformTree()
    turns = Rotation.from_euler("z", [[0], [80]], degrees=True)
    tree.add("odom", "base", SECOND, [0, 0, 0], turns[0].as_quat(), is_static=False)
    tree.add("odom", "base", 3 * SECOND // 2, [4, 0, 0], turns[1].as_quat(), is_static=False)
    halfway = tree.lookup("odom", "base", SECOND + SECOND // 8)
    assert halfway.extrapolated_s == 0.0
    np.testing.assert_allclose(halfway.motion, rigid(Slerp([0, 1], turns)(0.25), [1, 0, 0]), atol=1e-9)
    assert tree.lookup("odom", "base", 3 * SECOND) is None
    # Driving forward 8 m/s while standing objects are measured at two times: through odom they agree.
    through = tree.lookup_through("base", 3 * SECOND // 2, "base", SECOND, "odom")
    np.testing.assert_allclose(through.motion, np.linalg.inv(rigid(turns[1], [4, 0, 0])), atol=1e-9)


def test_late_transforms_are_extrapolated_only_on_request_and_by_how_much_is_said() -> None:
    """Driving on a circle at 8 m/s and 0.3 rad/s: 200 ms beyond the last odometry."""
    tree = TransformTree()

    def pose(time_s: float) -> np.ndarray:
        yaw = 0.3 * time_s
        centre = 8 / 0.3
        return rigid(Rotation.from_euler("z", yaw), [centre * np.sin(yaw), centre * (1 - np.cos(yaw)), 0.0])

    for number in range(51):
        now = pose(number / 50)
        turn = Rotation.from_matrix(now[:3, :3]).as_quat()
        tree.add("odom", "base", number * SECOND // 50, now[:3, 3], turn, is_static=False)
    asked = SECOND + SECOND // 5
    assert tree.lookup("odom", "base", asked) is None
    assert tree.lookup("odom", "base", asked, reach_s=0.1) is None
    assert tree.outside_s("odom", "base", asked) == pytest.approx(0.2)
    found = tree.lookup("odom", "base", asked, reach_s=0.25)
    assert found.extrapolated_s == pytest.approx(0.2)
    np.testing.assert_allclose(found.motion, pose(1.2), atol=1e-6)
    assert tree.moves("odom", "base")
    assert tree.outside_s("map", "base", asked) is None


def test_a_time_jump_forgets_what_moves_and_keeps_what_is_static() -> None:
    tree = TransformTree()
    tree.add("base", "camera", 0, [1, 0, 0], [0, 0, 0, 1], is_static=True)
    for second in range(1, 6):
        tree.add("odom", "base", second * SECOND, [second, 0, 0], [0, 0, 0, 1], is_static=False)
    # A simulation starts again elsewhere, within the ten seconds that are kept.
    tree.add("odom", "base", 2 * SECOND, [100, 0, 0], [0, 0, 0, 1], is_static=False)
    tree.add("odom", "base", 3 * SECOND, [100, 0, 0], [0, 0, 0, 1], is_static=False)
    assert tree.lookup("odom", "base", 2 * SECOND + SECOND // 2).motion[0, 3] == 100
    tree.forget_moving()
    assert tree.lookup("odom", "base", 3 * SECOND, reach_s=10.0) is None
    assert tree.lookup("base", "camera", 0).motion[0, 3] == 1


def driving(speed: float, hz: float = 20.0, seconds: float = 1.0) -> tuple[TransformTree, int]:
    """A robot that drives along x, and the stamp of its next pose."""
    tree, step_ns = TransformTree(), int(1e9 / hz)
    for number in range(int(seconds * hz)):
        tree.add("odom", "base", number * step_ns, (speed * number / hz, 0.0, 0.0), (0, 0, 0, 1), is_static=False)
    return tree, int(seconds * hz) * step_ns


@pytest.mark.parametrize("speed", [0.0, 8.0, 40.0])
def test_a_leap_of_odometry_ends_what_was_known_before_it(speed: float) -> None:
    tree, now_ns = driving(speed)
    before_ns = now_ns - 150_000_000
    assert tree.lookup("odom", "base", before_ns) is not None
    tree.add("odom", "base", now_ns, (speed * now_ns * 1e-9 - 9.0, 0.0, 0.0), (0, 0, 0, 1), is_static=False)
    assert tree.lookup("odom", "base", before_ns) is None
    assert tree.lookup_through("base", now_ns, "base", before_ns, "odom") is None


@pytest.mark.parametrize("metres_per_s2", [-9.0, 9.0])
def test_braking_and_setting_off_are_no_leaps(metres_per_s2: float) -> None:
    speed, hz = 10.0, 10.0
    tree, now_ns = driving(speed, hz)
    start = speed * (now_ns - 1e8) * 1e-9
    for number in range(1, 6):
        after_s = number / hz
        x = start + speed * after_s + 0.5 * metres_per_s2 * after_s**2
        tree.add("odom", "base", now_ns + int((number - 1) / hz * 1e9), (x, 0.0, 0.0), (0, 0, 0, 1), is_static=False)
    assert tree.lookup("odom", "base", now_ns - 150_000_000) is not None


def test_between_poses_far_apart_in_time_nothing_is_known() -> None:
    tree, now_ns = driving(5.0)
    tree.add("odom", "base", now_ns + 1_000_000_000, (11.0, 0.0, 0.0), (0, 0, 0, 1), is_static=False)
    middle_ns = now_ns + 480_000_000
    assert tree.lookup("odom", "base", middle_ns, reach_s=0.25) is None
    assert tree.outside_s("odom", "base", middle_ns) == pytest.approx(0.52)
    found = tree.lookup("odom", "base", now_ns + 100_000_000, reach_s=0.25)
    assert found is not None
    assert found.extrapolated_s == pytest.approx(0.15)


def test_nonsense_transforms_are_refused() -> None:
    tree = TransformTree()
    for arguments in (
        ("a", "a", 0, [0, 0, 0], [0, 0, 0, 1]),
        ("", "a", 0, [0, 0, 0], [0, 0, 0, 1]),
        ("a", "b", 0, [np.nan, 0, 0], [0, 0, 0, 1]),
        ("a", "b", 0, [0, 0, 0], [0, 0, 0, 0]),
    ):
        with pytest.raises(InputError):
            tree.add(*arguments, is_static=True)
    # A loop is somebody else's mistake; a lookup must still end.
    tree.add("a", "b", 0, [0, 0, 0], [0, 0, 0, 1], is_static=True)
    tree.add("b", "a", 0, [0, 0, 0], [0, 0, 0, 1], is_static=True)
    assert tree.lookup("a", "c", 0) is None


def test_extrinsics_parameter() -> None:
    matrix = rigid(Rotation.from_euler("xyz", [1, 2, 3]), [0.1, -0.2, 0.3])
    quaternion = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    np.testing.assert_allclose(parse_extrinsics([*matrix[:3, 3], *quaternion]), matrix, atol=1e-12)
    np.testing.assert_allclose(parse_extrinsics(list(matrix.ravel())), matrix)
    np.testing.assert_allclose(matrix_from([0, 0, 0], 5 * quaternion)[:3, :3], matrix[:3, :3], atol=1e-12)
    assert parse_extrinsics([]) is None
    scaled = matrix.copy()
    scaled[:3, :3] *= 1.1
    for wrong in ([1.0] * 5, list(scaled.ravel()), [0.0] * 7, [np.nan] * 16):
        with pytest.raises(InputError):
            parse_extrinsics(wrong)


def test_nearest_in_time_within_tolerance() -> None:
    tenth = SECOND // 10
    buffer: StampedBuffer[str] = StampedBuffer(capacity=3)
    for count in (13, 11, 12, 14):  # out of order, one too many
        buffer.add(count * tenth, f"at {count}")
    assert buffer.nearest(int(12.4 * tenth), tenth) == (12 * tenth, "at 12")
    assert buffer.nearest(int(10.9 * tenth), tenth) is None  # the one at 11 had to go
    assert buffer.add(0, "again")  # time jumped back: afresh
    assert buffer.nearest(13 * tenth, tenth) is None
    assert buffer.nearest(0, 0) == (0, "again")


def test_the_newest_frame_is_taken_and_the_rest_are_counted() -> None:
    frames: WaitingFrames[int] = WaitingFrames()
    for number in range(5):
        frames.put(number)
    assert (frames.take(0.0), frames.dropped) == ([4], 4)
    assert frames.take(0.0, in_order=True) == []  # from now on the taker keeps up
    for number in range(3):
        frames.put(number)
    assert [frames.take(0.0, in_order=True) for _ in range(4)] == [[0], [1], [2], []]
    frames.take(0.0)
    for number in range(3):
        frames.put(number)
    assert (len(frames), frames.dropped) == (1, 6)  # what will not be taken is not kept
    frames.clear()
    threading.Timer(0.05, frames.close).start()
    assert frames.take(30.0) == []


def test_a_frame_waits_for_what_it_lacks_but_not_for_ever_and_holds_up_no_newer_one() -> None:
    lacking = {1, 2, 3}
    frames: WaitingFrames[int] = WaitingFrames(lambda frame: frame in lacking)
    for number in (1, 2, 3):
        frames.put(number, patience_s=600.0)
    assert frames.take(0.02) == []
    lacking.discard(2)
    assert (frames.take(60.0), frames.dropped) == ([2], 1)  # the newest that lacks nothing; 1 had to go
    frames.clear()
    started = time.monotonic()
    frames.put(3, patience_s=0.2)
    assert frames.take(60.0) == [3]
    assert time.monotonic() - started >= 0.2
    lacking.add(4)
    frames.put(4, patience_s=600.0)
    threading.Timer(0.05, lambda: (lacking.discard(4), frames.look_again())).start()
    assert frames.take(60.0) == [4]
    for number in range(30):
        frames.put(number)
    assert len(frames) <= 24


def test_every_stream_gives_its_newest_frame_and_none_waits_for_another() -> None:
    lacking = {"left 2"}
    frames: WaitingFrames[str] = WaitingFrames(lambda frame: frame in lacking)
    for number in range(3):
        for name in ("front", "left", "rear"):
            frames.put(f"{name} {number}", patience_s=30.0, stream=name)
    assert sorted(frames.take(0.0)) == ["front 2", "left 1", "rear 2"]
    assert frames.dropped == 5
    frames.put("front 3", stream="front")
    assert frames.take(0.0) == ["front 3"]  # one camera alone is answered, too
    frames.put("front 4", stream="front")
    frames.clear("left")
    lacking.clear()
    assert frames.take(0.0) == ["front 4"]


def test_lanes_keep_the_order_share_the_cores_and_raise_when_all_are_done() -> None:
    lanes, done = Lanes(4), []
    started = threading.Barrier(2, timeout=20.0)

    def work(number: int) -> int:
        if number < 2:
            started.wait()  # two are under way at once
        if number == 2:
            raise ValueError("two")
        done.append(number)
        return 10 * number

    torch_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert lanes.map(work, [0, 1, 3]) == [0, 10, 30]
        with pytest.raises(ValueError, match="two"):
            lanes.map(work, [2, 4, 5])
        assert sorted(done) == [0, 1, 3, 4, 5]
        assert lanes.map(lambda _: torch.get_num_threads(), [0, 1]) == [1, 1]
        assert lanes.map(lambda _: torch.get_num_threads(), [0]) == [2]  # alone: in this thread, with all cores
    finally:
        lanes.close()
        torch.set_num_threads(torch_threads)


def test_whether_a_nearer_sweep_is_to_come_is_told_by_the_rhythm() -> None:
    tenth = SECOND // 10
    sweeps: StampedBuffer[str] = StampedBuffer(capacity=16)
    assert not sweeps.better_to_come(10 * tenth, 0.2, 0.06)  # no LiDAR, no waiting
    for count in range(10):
        sweeps.add(count * tenth, "sweep")
    assert sweeps.better_to_come(10 * tenth, 0.2, 0.06)  # in step: the sweep of this image is under way
    assert sweeps.better_to_come(int(9.7 * tenth), 0.2, 0.06)
    assert not sweeps.better_to_come(int(9.3 * tenth), 0.2, 0.06)  # the one before is nearer
    assert not sweeps.better_to_come(9 * tenth, 0.2, 0.06)
    assert not sweeps.better_to_come(30 * tenth, 0.2, 0.06)  # another clock: waiting is in vain


def test_what_is_silent_is_told_by_the_clock_of_the_stamps() -> None:
    """A recording at a tenth of its speed: by the computer's clock each sweep takes a second."""
    clock = [0.0]
    sweeps: StampedBuffer[str] = StampedBuffer(capacity=16, now_s=lambda: clock[0])
    for count in range(10):
        clock[0] = count / 10
        sweeps.add(count * SECOND // 10, "sweep")
    assert sweeps.better_to_come(SECOND, 0.2, 0.06)
    clock[0] += 0.4
    assert sweeps.better_to_come(SECOND, 0.2, 0.06)
    clock[0] += 0.2
    assert not sweeps.better_to_come(SECOND, 0.2, 0.06)


def test_frames_wait_by_the_clock_of_their_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    frames: WaitingFrames[str] = WaitingFrames(lacks=lambda _: True, now_s=lambda: clock[0])
    frames.put("image", patience_s=0.2)
    assert frames.take(0.3) == []  # longer than its patience by the computer's clock
    clock[0] += 0.21
    assert frames.take(5.0) == ["image"]
    frames.put("before the simulation starts again", patience_s=0.2)
    clock[0] = 3.0
    assert frames.take(5.0) == ["before the simulation starts again"]
    monkeypatch.setattr("leadline.streaming.waiting.WAITING", _Waiting(longest_s=0.05))
    frames.put("nobody publishes the time", patience_s=0.01)
    assert frames.take(5.0) == ["nobody publishes the time"]


def test_rates_and_gaps() -> None:
    steady = RateMeter(10.0)
    for i in range(60):
        steady.tick(i / 10)
    assert steady.rate_hz(6.0) == pytest.approx(10.0)
    assert steady.rate_hz(30.0) == 0.0
    complaints = Complaints()
    assert [complaints.note("a"), complaints.note("a"), complaints.note("b")] == [True, False, True]
    assert complaints.counts() == {"a": 2, "b": 1}


def test_problems_of_two_frames_are_two_and_many_names_stay_few_kinds() -> None:
    complaints = Complaints(most_kinds=3)
    late = "no transform from '{}' to 'camera': TF of that time is missing by {} s"
    assert [complaints.note(kind_of(late.format(*one))) for one in (("front", 1.5), ("front", 2.5), ("rear", 1))] == [
        True,
        False,
        True,
    ]
    assert [complaints.note(kind_of(f"unknown image encoding 'code {i}'")) for i in range(5)] == [True, True] + 3 * [
        False
    ]
    assert complaints.counts()[Complaints.OTHERS] == 4
    assert len(kind_of("unknown image encoding '" + 10**6 * "x" + "'")) < 40


@pytest.mark.parametrize("loss", [0.0, 0.1, 1 / 3, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize(("hz", "jitter_s"), [(30, 0.002), (10, 0.005)])
def test_the_share_of_lost_messages_is_right_up_to_95_percent(hz: int, jitter_s: float, loss: float) -> None:
    rng = np.random.default_rng(3)
    meter, kept = LossMeter(), []
    for number in range(60 * hz):
        if rng.random() >= loss:
            kept.append(number)
            meter.tick(number / hz + rng.normal(0, jitter_s))
    looked_at = kept[-150:]
    really = 1 - len(looked_at) / (looked_at[-1] - looked_at[0] + 1)
    assert meter.share() == pytest.approx(really, abs=0.03)


def test_every_second_image_lost_is_told_by_the_calibration_beside_it() -> None:
    with_info, without = LossMeter(), LossMeter()
    for number in range(100):
        with_info.companion(number / 30)
        if number % 2:
            with_info.tick(number / 30)
            without.tick(number / 30)
    assert with_info.share() == pytest.approx(0.5, abs=0.02)
    assert without.share() == 0.0  # as a camera of 15 Hz would look
    unrelated = LossMeter()
    for number in range(100):
        unrelated.tick(number / 10)
        unrelated.companion(number / 10 + 0.03)
        unrelated.companion(number / 10 + 0.08)
    assert unrelated.share() == 0.0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"ensemble": 0}, "ensemble"),
        ({"min_depth_m": 5.0, "max_depth_m": 4.0}, "min_depth_m"),
        ({"precision": "fp8"}, "precision"),
        ({"extrinsics": (1.0, 2.0)}, "extrinsics"),
        ({"model": " "}, "model"),
        ({"metric_scale": -3.0}, "metric_scale"),
        ({"max_depth_m": float("nan")}, "max_depth_m"),
    ],
)
def test_settings_name_what_is_wrong(changes: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        StreamSettings().changed(changes)
    assert StreamSettings().changed({"steps": 3, "not_ours": 1}).steps == 3


def test_one_slow_frame_is_no_slow_model_but_a_slow_model_is_found_out_soon() -> None:
    busy_s = RunningMean(WORKER.newest_share)
    for _ in range(50):
        busy_s.add(0.08)
    assert busy_s.value == pytest.approx(0.08)
    busy_s.add(0.25)
    assert busy_s.value * 10.0 < WORKER.keeps_up  # at 10 Hz
    for _ in range(6):
        busy_s.add(0.16)
    assert busy_s.value * 10.0 > WORKER.keeps_up
    first = RunningMean(WORKER.newest_share)
    first.add(0.25)  # a model's first frame
    for _ in range(10):
        first.add(0.078)
    assert first.value * 10.0 < WORKER.keeps_up


def test_worker_drops_old_frames_keeps_the_old_model_and_reloads_a_broken_one() -> None:
    seen: list[tuple[str, int]] = []
    failures: list[Exception] = []
    load_failures: list[Exception] = []
    gate = threading.Event()

    def process(model: str, frames: list[int]) -> list:
        (frame,) = frames
        gate.wait(60.0)
        if frame < 0:
            raise RuntimeError("the device is gone")
        seen.append((model, frame))
        return []

    worker: StreamWorker[str, int] = StreamWorker(
        process, lambda _, error: failures.append(error), load_failures.append
    )
    worker.start()
    worker.load(lambda: "first")
    assert worker.wait_loaded(60.0)
    worker.put(0)
    assert until(lambda: len(worker._frames) == 0)
    for frame in range(1, 10):  # all of these while the model is busy with 0
        worker.put(frame)
    gate.set()
    assert until(lambda: len(seen) == 2)
    assert seen == [("first", 0), ("first", 9)]
    assert worker.dropped == 8

    def missing() -> str:
        raise CheckpointError("weights are missing")

    worker.load(missing)
    assert worker.wait_loaded(60.0)
    worker.put(10)
    assert until(lambda: seen[-1] == ("first", 10))
    assert [str(error) for error in load_failures] == ["weights are missing"]

    loads: list[int] = []

    def counted() -> str:
        loads.append(1)
        return "second"

    worker.load(counted)
    assert worker.wait_loaded(60.0)
    for frame in (-1, -2, -3):
        worker.put(frame)
        assert until(lambda frame=frame: len(failures) == -frame)
    assert until(lambda: len(loads) == 2)  # three failures in a row: loaded again
    worker.put(11)
    assert until(lambda: seen[-1] == ("second", 11))
    assert worker.stop()


def test_the_manual_names_every_setting_and_topic() -> None:
    from dataclasses import fields
    from pathlib import Path

    pytest.importorskip("rclpy", reason="the node's own settings need rclpy: pip install leadline[ros]")
    from leadline_ros.outputs import TOPICS
    from leadline_ros.parameters import NodeSettings

    manual = (Path(__file__).resolve().parents[2] / "docs" / "ros2.md").read_text()
    names = [one.name for table in (StreamSettings, NodeSettings) for one in fields(table)]
    names += [topic for topic, _ in TOPICS.values()]
    assert [name for name in names if f"`{name}`" not in manual] == []


@pytest.mark.parametrize(("chosen", "asked"), [(0, None), (-1, 0), (256, 256)])
def test_zero_means_the_default_and_nothing_else(chosen, asked):
    """The host knows no None; the image's own size has a number of its own."""
    options = predict_options(StreamSettings(size=chosen))
    assert options["size"] == asked
    assert options["steps"] is None
