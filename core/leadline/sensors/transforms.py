"""A tree of coordinate frames with time, as `/tf` and `/tf_static` describe it. NumPy only.

The ROS node fills it from live topics, ``leadline bag`` from recorded ones; tf2 is not needed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError

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
    length = float(np.linalg.norm(numbers[3:]))
    if length < 1e-6:
        raise InputError("the quaternion of a transform is zero; (0, 0, 0, 1) means no rotation")
    x, y, z, w = numbers[3:] / length
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = numbers[:3]
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


def _inverse(matrix: Matrix) -> Matrix:
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def _slerp(a: Matrix, b: Matrix, fraction: float) -> Matrix:
    """Quaternions (4,) on the shorter arc; normalised linear interpolation where they almost agree."""
    dot = float(a @ b)
    if dot < 0:
        b, dot = -b, -dot
    if dot > 0.9995:
        blend = (1 - fraction) * a + fraction * b
        return np.asarray(blend / np.linalg.norm(blend))
    angle = np.arccos(dot)
    return np.asarray((np.sin((1 - fraction) * angle) * a + np.sin(fraction * angle) * b) / np.sin(angle))


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
        if self.history and stamp_ns < self.history[-1][0] - keep_ns:
            self.history.clear()  # time was reset
        insort(self.history, (stamp_ns, pose))
        oldest = self.history[-1][0] - keep_ns
        while self.history[0][0] < oldest:
            self.history.pop(0)

    def at(self, stamp_ns: int, slack_ns: int) -> Matrix | None:
        """Child → parent at a time: interpolated between two stamps, held for ``slack_ns`` outside."""
        first, last = self.history[0], self.history[-1]
        if self.is_static or stamp_ns >= last[0]:
            if not self.is_static and stamp_ns - last[0] > slack_ns:
                return None
            return matrix_from(last[1][:3], last[1][3:])
        if stamp_ns <= first[0]:
            return matrix_from(first[1][:3], first[1][3:]) if first[0] - stamp_ns <= slack_ns else None
        after = bisect_left(self.history, (stamp_ns, ()))
        (t0, p0), (t1, p1) = self.history[after - 1], self.history[after]
        fraction = (stamp_ns - t0) / max(t1 - t0, 1)
        a, b = np.array(p0), np.array(p1)
        turn = _slerp(a[3:] / np.linalg.norm(a[3:]), b[3:] / np.linalg.norm(b[3:]), fraction)
        return matrix_from(list((1 - fraction) * a[:3] + fraction * b[:3]), list(turn))


class TransformTree:
    """Frames by name. Thread-safe; holds ``keep_s`` seconds of moving frames."""

    def __init__(self, keep_s: float = 10.0, slack_s: float = 0.2) -> None:
        self._edges: dict[str, _Edge] = {}
        self._keep_ns = int(keep_s * 1e9)
        self._slack_ns = int(slack_s * 1e9)
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

    def _to_root(self, frame: str, stamp_ns: int) -> dict[str, Matrix]:
        """Every ancestor of ``frame`` (itself first) with the 4×4 that takes points from ``frame`` to it."""
        chain: dict[str, Matrix] = {frame: np.eye(4)}
        motion = np.eye(4)
        while (edge := self._edges.get(frame)) is not None and edge.parent not in chain:
            step = edge.at(stamp_ns, self._slack_ns)
            if step is None:
                break
            motion = step @ motion
            frame = edge.parent
            chain[frame] = motion
        return chain

    def lookup(self, target: str, source: str, stamp_ns: int) -> Matrix | None:
        """4×4 that takes points from ``source`` to ``target``; None if not connected at that time."""
        target, source = target.lstrip("/"), source.lstrip("/")
        with self._lock:
            from_source, from_target = self._to_root(source, stamp_ns), self._to_root(target, stamp_ns)
        common = next((frame for frame in from_source if frame in from_target), None)
        if common is None:
            return None
        return _inverse(from_target[common]) @ from_source[common]

    def lookup_through(self, target: str, target_ns: int, source: str, source_ns: int, fixed: str) -> Matrix | None:
        """As :meth:`lookup` between two times, through a frame that stands still: undoes own motion."""
        to_fixed, to_target = self.lookup(fixed, source, source_ns), self.lookup(target, fixed, target_ns)
        return None if to_fixed is None or to_target is None else to_target @ to_fixed


def _components(value: Any, names: str) -> list[float]:
    if isinstance(value, Mapping):
        try:
            return [float(value[name]) for name in names]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"an extrinsic's parts need numbers {', '.join(names)}") from error
    return list(value)
