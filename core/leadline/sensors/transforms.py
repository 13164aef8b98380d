"""A tree of coordinate frames with time, as `/tf` and `/tf_static` describe it.

The ROS node fills it from live topics, ``leadline bag`` from recorded ones; tf2 is not needed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from leadline.errors import InputError
from leadline.sensors.tuned import TRANSFORMS

Matrix = npt.NDArray[np.float64]
Transform = tuple[Sequence[float], Sequence[float]]  # translation xyz in metres, quaternion xyzw


def matrix_from(translation: Sequence[float], quaternion: Sequence[float]) -> Matrix:
    """4×4 from a translation (x, y, z) in metres and a quaternion (x, y, z, w) of any positive length.

    Raises:
        InputError: Not finite, or the quaternion is zero.
    """
    numbers = np.array([*translation, *quaternion], dtype=np.float64)
    if numbers.shape != (7,) or not np.isfinite(numbers).all():
        raise InputError("a transform is 3 finite numbers of translation and 4 of rotation (x, y, z, w)")
    if np.linalg.norm(numbers[3:]) < 1e-6:
        raise InputError("the quaternion of a transform is zero; (0, 0, 0, 1) means no rotation")
    return _rigid(Rotation.from_quat(numbers[3:]), numbers[:3])


def _rigid(turn: Rotation, shift: Matrix) -> Matrix:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.as_matrix(), shift
    return matrix


def parse_extrinsics(numbers: Sequence[float]) -> Matrix | None:
    """LiDAR-to-camera 4×4 from 16 numbers (row-major) or 7 (x y z, qx qy qz qw); None for an empty list.

    Raises:
        InputError: Another count, not finite, or not a rigid motion.
    """
    if len(numbers) == 0:
        return None
    if len(numbers) == 7:
        return matrix_from(numbers[:3], numbers[3:])
    if len(numbers) != 16:
        raise InputError(f"extrinsics are 7 numbers (x y z qx qy qz qw) or 16 (4x4), not {len(numbers)}")
    matrix = np.array(numbers, dtype=np.float64).reshape(4, 4)
    rotation = matrix[:3, :3]
    rigid = (
        np.isfinite(matrix).all()
        and np.abs(rotation @ rotation.T - np.eye(3)).max() <= 1e-3
        and np.linalg.det(rotation) > 0
        and np.abs(matrix[3] - [0.0, 0.0, 0.0, 1.0]).max() <= 1e-6
    )
    if not rigid:
        raise InputError("extrinsics are no rigid motion: the 3x3 must be a rotation, the last row 0 0 0 1")
    return matrix


def extrinsic(value: Any) -> Matrix:
    """A LiDAR-to-camera motion from what people have.

    Args:
        value: 4×4 or 3×4 matrix, 16 or 12 numbers by rows, 7 numbers (x y z qx qy qz qw), a pair (translation,
            quaternion xyzw), or a mapping with ``translation`` and ``rotation`` / ``quaternion``.

    Raises:
        InputError: Not a rigid motion.
    """
    if isinstance(value, Mapping):
        rotation = value.get("rotation", value.get("quaternion"))
        if value.get("translation") is None or rotation is None:
            raise InputError("an extrinsic needs 'translation' (x y z) and 'rotation' (x y z w)")
        value = [*_components(value["translation"], "xyz"), *_components(rotation, "xyzw")]
    try:
        if isinstance(value, list | tuple) and len(value) == 2 and len(value[0]) == 3 and len(value[1]) == 4:
            value = [*value[0], *value[1]]
        numbers = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise InputError("an extrinsic is a 4x4 matrix, or a translation and a quaternion (x y z w)") from error
    if numbers.size == 12:
        numbers = np.concatenate([numbers, [0, 0, 0, 1]])
    matrix = parse_extrinsics(numbers.tolist())
    if matrix is None:
        raise InputError("the extrinsic is empty; give a 4x4 matrix, or a translation and a quaternion (x y z w)")
    return matrix


def rigid_inverse(matrix: Matrix) -> Matrix:
    """The inverse of a rigid 4×4."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def rigid_power(motion: Matrix, exponent: float) -> Matrix:
    """A rigid 4×4 done ``exponent`` times at constant velocity (exp(exponent · log(motion)) in SE(3))."""
    turn = Rotation.from_matrix(motion[:3, :3]).as_rotvec()
    velocity = np.linalg.inv(_along_turn(turn)) @ motion[:3, 3]
    shift = _along_turn(exponent * turn) @ (exponent * velocity)
    return _rigid(Rotation.from_rotvec(exponent * turn), shift)


def _along_turn(turn: Matrix) -> Matrix:
    """3×3 by which a velocity is multiplied when the body turns by ``turn`` (rotation vector) on the way."""
    angle = float(np.linalg.norm(turn))
    x, y, z = turn
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-6:
        return np.eye(3) + 0.5 * cross
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * cross @ cross


@dataclass(frozen=True)
class Located:
    """Where one frame stands in another.

    Attributes:
        motion: 4×4 that takes points from the source frame to the target frame.
        extrapolated_s: How far beyond the transforms that have come (or before the first, or from the nearer of two that are
            far apart in time and space) the time asked for lies. Beyond the last, motion was carried on at constant
            velocity. 0: between two transforms.
    """

    motion: Matrix
    extrapolated_s: float = 0.0


class _Edge:
    """Motion of one child frame in its parent over time."""

    def __init__(self, parent: str, is_static: bool) -> None:
        self.parent = parent
        self.is_static = is_static
        self.history: list[tuple[int, tuple[float, ...]]] = []

    def add(self, stamp_ns: int, pose: tuple[float, ...], keep_ns: int) -> None:
        if self.is_static:
            self.history = [(stamp_ns, pose)]
            return
        if self.history and (stamp_ns < self.history[-1][0] - TRANSFORMS.reset_ns or self._leaps(stamp_ns, pose)):
            self.history.clear()
        insort(self.history, (stamp_ns, pose))
        oldest = self.history[-1][0] - keep_ns
        while self.history[0][0] < oldest:
            self.history.pop(0)

    def _leaps(self, stamp_ns: int, pose: tuple[float, ...]) -> bool:
        """Whether a newer pose is out of line with those before."""
        passed_ns = stamp_ns - self.history[-1][0]
        if passed_ns <= 0 or self.history[-1][0] - self.history[0][0] < TRANSFORMS.velocity_ns:
            return False
        off_m = float(np.linalg.norm(np.array(pose[:3]) - self._extrapolated(stamp_ns)[:3, 3]))
        return off_m > TRANSFORMS.leap_m + 0.5 * TRANSFORMS.acceleration * (passed_ns * 1e-9) ** 2

    def at(self, stamp_ns: int) -> tuple[Matrix, int]:
        """Child → parent at a time, and how far (ns) that time lies outside of what is known."""
        first, last = self.history[0], self.history[-1]
        if self.is_static:
            return _matrix(last[1]), 0
        if stamp_ns > last[0]:
            return self._extrapolated(stamp_ns), stamp_ns - last[0]
        if stamp_ns <= first[0]:
            return _matrix(first[1]), first[0] - stamp_ns
        after = bisect_left(self.history, (stamp_ns, ()))
        (t0, p0), (t1, p1) = self.history[after - 1], self.history[after]
        fraction = (stamp_ns - t0) / max(t1 - t0, 1)
        a, b = np.array(p0), np.array(p1)
        first, second = Rotation.from_quat([a[3:], b[3:]])
        between = first * Rotation.from_rotvec(fraction * (first.inv() * second).as_rotvec())
        unknown = t1 - t0 > TRANSFORMS.gap_ns and float(np.linalg.norm(b[:3] - a[:3])) > TRANSFORMS.leap_m
        unknown_ns = min(stamp_ns - t0, t1 - stamp_ns) if unknown else 0
        return _rigid(between, (1 - fraction) * a[:3] + fraction * b[:3]), unknown_ns

    def _extrapolated(self, stamp_ns: int) -> Matrix:
        """Beyond the newest pose at the velocity of the last moments; standing still if there is but one."""
        newest_ns, newest = self.history[-1]
        before = next(
            (entry for entry in reversed(self.history) if entry[0] <= newest_ns - TRANSFORMS.velocity_ns), None
        )
        pose = _matrix(newest)
        if before is None:
            return pose
        step = rigid_inverse(_matrix(before[1])) @ pose
        return pose @ rigid_power(step, (stamp_ns - newest_ns) / (newest_ns - before[0]))


def _matrix(pose: tuple[float, ...]) -> Matrix:
    return matrix_from(pose[:3], pose[3:])


class TransformTree:
    """Frames by name. Thread-safe; holds ``keep_s`` seconds of moving frames."""

    def __init__(self, keep_s: float = 10.0) -> None:
        self._edges: dict[str, _Edge] = {}
        self._keep_ns = int(keep_s * 1e9)
        self._lock = Lock()

    def add(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        translation: Sequence[float],
        quaternion: Sequence[float],
        is_static: bool,
    ) -> None:
        """One `geometry_msgs/TransformStamped`.

        Raises:
            InputError: Empty or equal frame names, or numbers that are no transform.
        """
        parent, child = parent.lstrip("/"), child.lstrip("/")
        if not parent or not child or parent == child:
            raise InputError(f"a transform from {child!r} to {parent!r} makes no sense; check its publisher")
        matrix_from(translation, quaternion)
        pose = (*map(float, translation), *map(float, quaternion))
        with self._lock:
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or edge.is_static != is_static:
                edge = self._edges[child] = _Edge(parent, is_static)
            edge.add(stamp_ns, pose, self._keep_ns)

    def forget_moving(self) -> None:
        """Time jumped: where moving frames stood belongs to another time; static transforms stay."""
        with self._lock:
            self._edges = {child: edge for child, edge in self._edges.items() if edge.is_static}

    def _to_root(self, frame: str, stamp_ns: int) -> dict[str, tuple[Matrix, int, bool]]:
        """Every ancestor of ``frame`` (itself first): the 4×4 to it, the worst extrapolation (ns), whether it moves."""
        motion, outside_ns, moves = np.eye(4), 0, False
        chain = {frame: (motion, outside_ns, moves)}
        while (edge := self._edges.get(frame)) is not None and edge.parent not in chain:
            step, outside = edge.at(stamp_ns)
            motion, outside_ns, moves = step @ motion, max(outside_ns, outside), moves or not edge.is_static
            frame = edge.parent
            chain[frame] = (motion, outside_ns, moves)
        return chain

    def _connected(self, target: str, source: str, stamp_ns: int) -> tuple[Matrix, int, bool] | None:
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            from_source, from_target = self._to_root(source, stamp_ns), self._to_root(target, stamp_ns)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            return None
        (there, outside_there, moves_there), (back, outside_back, moves_back) = from_source[common], from_target[common]
        return rigid_inverse(back) @ there, max(outside_there, outside_back), moves_there or moves_back

    def lookup(self, target: str, source: str, stamp_ns: int, reach_s: float = 0.0) -> Located | None:
        """Where ``source`` stands in ``target``; None if they are not connected, or not within ``reach_s`` of that time."""
        found = self._connected(target, source, stamp_ns)
        if found is None or found[1] > reach_s * 1e9:
            return None
        return Located(found[0], found[1] * 1e-9)

    def lookup_through(
        self, target: str, target_ns: int, source: str, source_ns: int, fixed: str, reach_s: float = 0.0
    ) -> Located | None:
        """As :meth:`lookup` between two times, through a frame that stands still: undoes own motion."""
        to_fixed = self.lookup(fixed, source, source_ns, reach_s)
        to_target = self.lookup(target, fixed, target_ns, reach_s)
        if to_fixed is None or to_target is None:
            return None
        return Located(to_target.motion @ to_fixed.motion, max(to_fixed.extrapolated_s, to_target.extrapolated_s))

    def outside_s(self, target: str, source: str, stamp_ns: int) -> float | None:
        """How far that time lies outside of the transforms that have come; None if the frames are not connected."""
        found = self._connected(target, source, stamp_ns)
        return None if found is None else found[1] * 1e-9

    def moves(self, target: str, source: str) -> bool:
        """Whether the frames are connected, and by something else than static transforms."""
        found = self._connected(target, source, 0)
        return found is not None and found[2]


def _components(value: Any, names: str) -> list[float]:
    if isinstance(value, Mapping):
        try:
            return [float(value[name]) for name in names]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"an extrinsic's parts need numbers {', '.join(names)}") from error
    return list(value)
