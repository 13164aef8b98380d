"""What clients and server say to each other: requests, replies, limits and the words for what can go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from leadline.errors import LeadlineError

#: First frame of every message. The digit is the protocol's version.
TAG = b"LEADLINE1"
PROTOCOL = 1

MAX_HEADER_BYTES = 16 * 1024
MAX_REPLY_HEADER_BYTES = 4 * 1024 * 1024
#: Image and sparse depth on the way in; values, uncertainty and validity on the way out.
MAX_BODIES, MAX_REPLY_BODIES = 2, 3
#: Places in a block of lent memory begin at multiples of this.
BLOCK_ALIGNMENT = 64
#: Longest packet over the socket that lends memory.
LOAN_MESSAGE_BYTES = 4096

IMAGE_ENCODINGS = ("raw", "jpeg", "png")
REPLY_ENCODINGS = ("float32", "float16", "uint16", "png16")
#: What a request can ask for. Normals travel as floats only.
OUTPUTS = ("depth", "normals")
NORMALS_ENCODINGS = ("float32", "float16")
#: How far to refine a map beyond the network's resolution.
DETAILS = ("off", "edges", "tiles")
SPARSE_KINDS = ("map", "points")
CAMERA_MODELS = ("pinhole", "plumb_bob", "rational_polynomial", "equidistant")
SPACES = ("log_depth", "sqrt_disparity", "disparity", "depth")

#: Code → what it means. Codes are for programs, messages for people.
ERROR_CODES = {
    "bad_request": "the message breaks the protocol or a limit",
    "unknown_model": "no model of this name is served",
    "bad_image": "the image or the sparse depth cannot be read",
    "no_block": "the block of shared memory is not known (any more)",
    "bad_option": "the model does not take this option",
    "busy": "the queue is full; try again later",
    "rate_limited": "too many requests per second from this client",
    "deadline": "the request's deadline passed",
    "cancelled": "the client cancelled it",
    "superseded": "a newer request of the same stream took its place",
    "unknown_job": "there is no such request to cancel",
    "worker_lost": "the process that computed it died, more than once",
    "model_failed": "the model could not be loaded or failed",
    "shutting_down": "the server is stopping",
}

Frame: TypeAlias = Any  # bytes, bytearray, memoryview or a zmq.Frame's buffer
Header: TypeAlias = dict[str, Any]


class WireError(LeadlineError):
    """A message that breaks the protocol.

    Attributes:
        code: One of :data:`ERROR_CODES`.
        id: The request's id if it could still be read, so that an answer can name it.
    """

    def __init__(self, message: str, code: str = "bad_request", id: str | None = None) -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.id = id


@dataclass(frozen=True)
class Limits:
    """What a server accepts; sent in its ``hello``.

    Attributes:
        image_bytes: Largest image body.
        megapixels: Largest image, decoded.
        points: Most sparse points.
        ensemble: Most members.
        steps: Most network evaluations.
        size: Longest processing edge, pixels.
        work: Most megapixels × members × steps of one request, at processing size.
        queue: Requests that wait, all clients together.
        queue_per_client: Requests that wait or run, one client.
        queue_bytes: Bytes of the requests that wait.
        rate_per_s: Messages per second and client, on average.
        burst: Messages that a client may send at once.
        deadline_s: Longest deadline; also the default.
        block_bytes: Largest block of memory lent to a client on the same machine.
        steady_megapixels: Largest frame of a film that is held still, decoded.
    """

    image_bytes: int = 128 * 1024 * 1024
    megapixels: float = 33.2
    points: int = 2_000_000
    ensemble: int = 64
    steps: int = 64
    size: int = 4096
    work: float = 64.0
    queue: int = 128
    queue_per_client: int = 16
    queue_bytes: int = 1024 * 1024 * 1024
    rate_per_s: float = 200.0
    burst: int = 400
    deadline_s: float = 600.0
    block_bytes: int = 256 * 1024 * 1024
    steady_megapixels: float = 9.0

    @property
    def frame_bytes(self) -> int:
        """Largest frame that any request can hold."""
        return max(self.image_bytes, self.points * 12, int(self.megapixels * 4e6), MAX_HEADER_BYTES)


@dataclass(frozen=True)
class Quota:
    """What one client may take; None: what everybody may.

    Attributes:
        share: Of the workers' time, relative to others.
        queue: Requests that wait or run.
        rate_per_s: Messages per second.
        work: See :class:`Limits`.
    """

    share: float = 1.0
    queue: int | None = None
    rate_per_s: float | None = None
    work: float | None = None


EVERYBODY = Quota()


@dataclass(frozen=True)
class ImageInfo:
    """The image. ``shape`` is (H, W, 3 or 1) for ``raw`` (uint8, row by row); encoded images bring their own.

    It is the first body, or if ``at`` is not None (raw only) begins there in the request's block of shared memory.
    """

    encoding: str
    shape: tuple[int, int, int] | None = None
    at: int | None = None


@dataclass(frozen=True)
class CameraInfo:
    """Pinhole or fisheye calibration in pixels, ROS conventions (z forward, x right, y down)."""

    fx: float
    fy: float
    cx: float
    cy: float
    model: str = "pinhole"
    distortion: tuple[float, ...] = ()
    #: Row-major 4×4 transform that takes points into the camera's frame; metres.
    points_to_camera: tuple[float, ...] = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)


@dataclass(frozen=True)
class SparseInfo:
    """The sparse body, little-endian float32: a ``map`` (H, W) of metres with 0 for "not measured", or ``points``
    (N, 3) in metres with the camera that sees them."""

    kind: str
    shape: tuple[int, int]
    camera: CameraInfo | None = None


@dataclass(frozen=True)
class Predict:
    """A checked ``predict`` request. None means: the model's default."""

    id: str
    image: ImageInfo
    model: str | None = None
    session: str | None = None
    sparse: SparseInfo | None = None
    steps: int | None = None
    ensemble: int = 1
    size: int | None = None
    seed: int = 0
    detail: str = "off"
    output: str = "depth"
    reply: str = "float32"
    latest: str | None = None
    #: Name of a film whose frames come one by one and are held still.
    steady: str | None = None
    #: Whether validity is wanted, too, where there is one.
    validity: bool = False
    deadline_s: float | None = None
    progress: bool = True
    #: Number of a block of shared memory, if the image is in one; where in it values (and uncertainty) are wanted.
    block: int | None = None
    maps_at: tuple[int, ...] = ()
    #: W3C ``traceparent`` of the caller, for the logs.
    trace: str | None = None


@dataclass(frozen=True)
class Hello:
    id: str


@dataclass(frozen=True)
class Status:
    id: str
    metrics: bool = False


@dataclass(frozen=True)
class Cancel:
    """``id`` is the id of the ``predict`` to stop."""

    id: str
    session: str | None = None


Request: TypeAlias = Predict | Hello | Status | Cancel


@dataclass(frozen=True)
class MapInfo:
    """One map (H, W), or normals (H, W, 3), in a ``result``: ``value = scale * number + offset`` for the 16-bit integer encodings.

    It is a body, or if ``at`` is not None begins there in the request's block.
    """

    encoding: str
    shape: tuple[int, ...]
    scale: float = 1.0
    offset: float = 0.0
    at: int | None = None


@dataclass(frozen=True)
class Result:
    """A checked ``result`` header. ``space`` is None for normals, and only for them."""

    id: str
    values: MapInfo
    space: str | None
    metric: bool
    model: str
    uncertainty: MapInfo | None = None
    validity: MapInfo | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """``position``: requests ahead in the queue, 0 once it runs. ``fraction``: of the computation, 0 to 1."""

    id: str
    stage: str
    fraction: float
    position: int = 0


@dataclass(frozen=True)
class Failure:
    """An ``error``. ``id`` is None if the request was too broken to have one."""

    id: str | None
    code: str
    message: str


@dataclass(frozen=True)
class Info:
    """An answer to ``hello`` or ``status``: the header as it is, already known to be a small JSON object."""

    op: str
    id: str
    header: Mapping[str, Any]


Reply: TypeAlias = Result | Progress | Failure | Info
