"""cv_bridge comes in builds that can be imported and do not work: they are refused before the first frame."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy: pip install leadline[ros]")

from sensor_msgs.msg import Image

from leadline.errors import InputError
from leadline_ros.messages import image_message, rgb_through_cv_bridge


def use(monkeypatch: pytest.MonkeyPatch, imgmsg_to_cv2: Any) -> None:
    module = ModuleType("cv_bridge")
    module.CvBridge = type("CvBridge", (), {"imgmsg_to_cv2": imgmsg_to_cv2})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)


def as_rgb(self: Any, message: Image, desired_encoding: str) -> np.ndarray:
    assert desired_encoding == "rgb8"
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)
    if message.encoding == "16UC1":
        raise KeyError("16UC1")
    return np.broadcast_to(pixels[..., ::-1] if message.encoding == "bgr8" else pixels, (*pixels.shape[:2], 3))


def raises(self: Any, message: Image, desired_encoding: str) -> np.ndarray:
    raise TypeError("cvtColor2() takes 4 arguments")


def swapped(self: Any, message: Image, desired_encoding: str) -> np.ndarray:
    return np.ascontiguousarray(as_rgb(self, message, desired_encoding)[..., ::-1])


@pytest.mark.parametrize(("broken", "reason"), [(raises, "cvtColor2"), (swapped, "colours")])
def test_one_that_does_not_work_is_refused(monkeypatch: pytest.MonkeyPatch, broken: Any, reason: str) -> None:
    use(monkeypatch, broken)
    with pytest.raises(InputError, match=rf"{reason}.*unset it"):
        rgb_through_cv_bridge()


def test_what_a_good_one_cannot_convert_costs_that_image_only(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, as_rgb)
    convert = rgb_through_cv_bridge()
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    header = Image().header
    np.testing.assert_array_equal(convert(image_message(header, "rgb8", pixels)), pixels)
    with pytest.raises(InputError, match="cannot convert 16UC1"):
        convert(image_message(header, "16UC1", pixels[..., 0].astype(np.uint16)))
