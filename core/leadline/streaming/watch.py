"""A watch over the extrinsics of a LiDAR while the robot drives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from leadline.depth.prediction import DepthPrediction
from leadline.sensors.alignment import COMPONENTS, Component, Jumps, agreement, depth_jumps
from leadline.sensors.camera import CalibratedCamera
from leadline.sensors.lidar import project_points
from leadline.streaming.frames import Sweep
from leadline.streaming.settings import StreamSettings
from leadline.streaming.tuned import WATCH
from leadline.types import FloatMap, RgbImage

_FORWARD = 2


@dataclass(frozen=True)
class Misalignment:
    """What the LiDAR's points must do to lie on the image's edges.

    Attributes:
        component: Of the motion.
        value: Radians or metres, by the component's sign.
        gain: Share more of the depth jumps that would then lie on edges.
    """

    component: Component
    value: float
    gain: float

    def words(self) -> str:
        """ "turn left by 0.50°"."""
        how_far = f"{np.rad2deg(abs(self.value)):.2f}°" if self.component.turns else f"{100 * abs(self.value):.1f} cm"
        return f"{self.component.name[self.value < 0]} by {how_far}"


class ExtrinsicsWatch:
    """Gathers how well the depth jumps of sweeps lie on the edges of their images."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the sweeps before."""
        self._agreements: deque[FloatMap] = deque(maxlen=WATCH.remembered)
        self._jumps: deque[int] = deque(maxlen=WATCH.remembered)
        self._last_ns: int | None = None
        self._thumbnail: npt.NDArray[np.float32] | None = None

    @classmethod
    def joined(cls, *parts: ExtrinsicsWatch) -> ExtrinsicsWatch:
        """What several have gathered one after the other."""
        whole = cls()
        for part in parts:
            whole._agreements.extend(part._agreements)
            whole._jumps.extend(part._jumps)
        return whole

    def add(
        self,
        stamp_ns: int,
        rgb: RgbImage,
        raw: DepthPrediction,
        sweep: Sweep,
        camera: CalibratedCamera,
        settings: StreamSettings,
    ) -> None:
        """A frame with a sweep that stands where the image was taken; most are passed over, as one now and then is enough."""
        if self._last_ns is not None and abs(stamp_ns - self._last_ns) < WATCH.every_s * 1e9:
            return
        thumbnail = cv2.resize(rgb, WATCH.thumbnail, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._thumbnail is not None and float(np.abs(thumbnail - self._thumbnail).mean()) < WATCH.change:
            return
        self._last_ns, self._thumbnail = stamp_ns, thumbnail
        jumps, seen_by = _jumps(rgb, raw.nearness(), sweep, camera, settings)
        self._agreements.append(agreement(jumps, float(seen_by.matrix[0, 0])))
        self._jumps.append(len(jumps))

    def found(self) -> list[Misalignment]:
        """What is wrong with the extrinsics, the best explanation first, others that are nearly as good behind it; empty if nothing
        seems to be, or too little was seen."""
        if len(self._agreements) < WATCH.fewest or np.mean(self._jumps) < WATCH.jumps:
            return []
        agreements = np.array(self._agreements)  # (sweeps, strips, components, values)
        parts = [part.sum(axis=(0, 1)) for part in np.array_split(agreements, 3)]
        strips = agreements.sum(axis=0)
        total = strips.sum(axis=0)
        explained = sorted(
            (one for number in range(len(COMPONENTS)) if (one := _peak(total, number)) is not None),
            key=lambda one: -one.gain,
        )
        explained = [
            one
            for one in explained
            if _is_worth_it(one)
            and _lasts(one, parts)
            and _is_seen_apart(one, strips)
            and not _is_another_peak(one, total)
        ]
        return [one for one in explained if one.gain >= WATCH.nearly * explained[0].gain]

    def warning(self) -> str:
        """:meth:`found` in words; empty if nothing is."""
        found = self.found()
        if not found:
            return ""
        return (
            f"the extrinsics look wrong: the LiDAR's points would have to {' or '.join(one.words() for one in found)} to lie on the "
            "image's edges"
        )


def _jumps(
    rgb: RgbImage, nearness: FloatMap, sweep: Sweep, camera: CalibratedCamera, settings: StreamSettings
) -> tuple[Jumps, CalibratedCamera]:
    """The jumps of a sweep, and the camera of the size at which they were looked at."""
    if camera.width > WATCH.width:
        size = WATCH.width, round(camera.height * WATCH.width / camera.width)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
        nearness = np.asarray(cv2.resize(nearness, size, interpolation=cv2.INTER_AREA), np.float32)
        camera = camera.resized(*size)
    points = project_points(
        sweep.points, camera, sweep.to_camera, min_range_m=settings.lidar_min_range_m, max_range_m=settings.lidar_max_range_m
    )  # fmt: skip
    grey = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)
    return depth_jumps(points, grey, nearness, camera), camera


def _peak(agreements: FloatMap, number: int) -> Misalignment | None:
    """Where a component's agreement is best; None if no jumps were seen."""
    component, curve = COMPONENTS[number], agreements[number]
    now = float(np.interp(0.0, component.values, curve))
    if now <= 0:
        return None
    best = int(curve.argmax())
    return Misalignment(component, float(component.values[best]), float(curve[best]) / now - 1.0)


def _is_worth_it(one: Misalignment) -> bool:
    if one.component.axis == _FORWARD:
        return one.gain >= WATCH.gain_along and abs(one.value) >= (
            WATCH.roll_rad if one.component.turns else WATCH.forward_m
        )
    return one.gain >= WATCH.gain and abs(one.value) >= (WATCH.turn_rad if one.component.turns else WATCH.shift_m)


def _lasts(one: Misalignment, parts: list[FloatMap]) -> bool:
    """Whether each part of the memory alone says the same."""
    number = COMPONENTS.index(one.component)
    alone = [_peak(part, number) for part in parts]
    return all(part is not None and part.value * np.sign(one.value) >= WATCH.of_it * abs(one.value) for part in alone)


def _is_seen_apart(one: Misalignment, strips: FloatMap) -> bool:
    """Whether the rest of the picture says so, too, whatever a quarter of it is hidden: one roof between two rings is one witness, however many
    points lie on it."""
    number, hidden = COMPONENTS.index(one.component), len(strips) // 4 + 1  # wherever a quarter begins
    for first in range(len(strips) - hidden + 1):
        rest = np.delete(strips, np.s_[first : first + hidden], axis=0).sum(axis=0)[number]
        now, then = (float(np.interp(value, one.component.values, rest)) for value in (0.0, one.value))
        if then <= now:
            return False
    return True


def _is_another_peak(one: Misalignment, total: FloatMap) -> bool:
    """Whether it lies far off, in the outer half of what was tried, and the agreement has a peak where things are, too: then rows of something
    else look alike, as windows and fences do."""
    curve, values = total[COMPONENTS.index(one.component)], one.component.values
    most = float(values[-1])
    if abs(one.value) <= most / 2:
        return False
    here, *beside = (float(np.interp(value, values, curve)) for value in (0.0, -most / 4, most / 4))
    return here >= max(beside)
