"""One frame of a stream: prediction, metric evidence, limits. The same for the live node and for recorded bags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError
from leadline.prediction import DepthPrediction
from leadline.spaces import Space
from leadline.streaming.encodings import with_limits
from leadline.streaming.settings import StreamSettings

if TYPE_CHECKING:
    from leadline.completion.camera import Camera
    from leadline.estimator import DepthEstimator

FloatMap = npt.NDArray[np.float32]
OnProgress = Callable[[str, float], None]
