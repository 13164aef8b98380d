"""The protocol, version 1: what may stand in a message, and nothing else. Standard library and NumPy only.

A message is a list of frames: the tag ``LEADLINE1``, a header in JSON (UTF-8), and the bodies that the header
announces (image and sparse depth on the way in; values and uncertainty on the way out). ``docs/protocol.md`` is the
same for people who write clients. Everything is checked before it is used; unknown fields are refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from leadline.errors import LeadlineError

#: First frame of every message. The digit is the protocol's version.
TAG = b"LEADLINE1"
PROTOCOL = 1

MAX_HEADER_BYTES = 16 * 1024
MAX_REPLY_HEADER_BYTES = 4 * 1024 * 1024
MAX_BODIES = 2
MAX_FRAMES = 2 + MAX_BODIES

IMAGE_ENCODINGS = ("raw", "jpeg", "png")
REPLY_ENCODINGS = ("float32", "float16", "uint16", "png16")
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

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{16,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


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
        queue: Requests that wait, all clients together.
        queue_per_client: Requests that wait or run, one client.
        queue_bytes: Bytes of the requests that wait.
        rate_per_s: Messages per second and client, on average.
        burst: Messages that a client may send at once.
        deadline_s: Longest deadline; also the default.
        block_bytes: Largest block of memory lent to a client on the same machine.
    """

    image_bytes: int = 128 * 1024 * 1024
    megapixels: float = 33.2
    points: int = 2_000_000
    ensemble: int = 64
    steps: int = 64
    size: int = 4096
    queue: int = 128
    queue_per_client: int = 16
    queue_bytes: int = 1024 * 1024 * 1024
    rate_per_s: float = 200.0
    burst: int = 400
    deadline_s: float = 600.0
    block_bytes: int = 256 * 1024 * 1024

    @property
    def frame_bytes(self) -> int:
        """Largest frame that any request can hold."""
        return max(self.image_bytes, self.points * 12, int(self.megapixels * 4e6), MAX_HEADER_BYTES)


@dataclass(frozen=True)
class ImageInfo:
    """The image. ``shape`` is (H, W, 3 or 1) for ``raw`` (uint8, row by row); encoded images bring their own.

    It is the first body, or if ``at`` is not None (raw only) begins there in the request's block of shared memory.
    """

    encoding: str
    shape: tuple[int, int, int] | None = None
    at: int | None = None


@dataclass(frozen=True)
class Camera:
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
    camera: Camera | None = None


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
    reply: str = "float32"
    latest: str | None = None
    deadline_s: float | None = None
    progress: bool = True
    #: Number of a block of shared memory, if the image is in one; where in it values (and uncertainty) are wanted.
    block: int | None = None
    maps_at: tuple[int, ...] = ()


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
    """One map in a ``result``: ``value = scale * number + offset`` for the 16-bit integer encodings.

    It is a body, or if ``at`` is not None begins there in the request's block.
    """

    encoding: str
    shape: tuple[int, int]
    scale: float = 1.0
    offset: float = 0.0
    at: int | None = None


@dataclass(frozen=True)
class Result:
    """A checked ``result`` header."""

    id: str
    values: MapInfo
    space: str
    metric: bool
    model: str
    uncertainty: MapInfo | None = None
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


# --- writing -----------------------------------------------------------------------------------------------------


def pack(header: Mapping[str, Any], bodies: Sequence[Frame] = ()) -> list[Frame]:
    """Frames of a message."""
    return [TAG, json.dumps(header, separators=(",", ":"), allow_nan=False).encode(), *bodies]


def request_header(request: Request) -> Header:
    """The header of a request, without the fields that hold their default."""
    header: Header = {"op": type(request).__name__.lower(), **_sparsely(request)}
    if isinstance(request, Predict):
        header["image"] = _sparsely(request.image)
        if request.sparse is not None:
            header["sparse"] = _sparsely(request.sparse)
            if request.sparse.camera is not None:
                header["sparse"]["camera"] = asdict(request.sparse.camera)
    return header


def reply_header(reply: Result | Progress | Failure) -> Header:
    """The header of a reply."""
    op = "error" if isinstance(reply, Failure) else type(reply).__name__.lower()
    return {"op": op, **asdict(reply)}


def _sparsely(record: Any) -> Header:
    fields = type(record).__dataclass_fields__
    return {k: v for k, v in vars(record).items() if v != fields[k].default}


# --- reading -----------------------------------------------------------------------------------------------------


def read_request(frames: Sequence[Frame], limits: Limits) -> Request:
    """Check a request against schema and limits.

    Args:
        frames: All frames after the routing id. Only the second is read; of the others, only the length.

    Raises:
        WireError: With a code and, where it could be read, the request's id.
    """
    header = _open(frames, MAX_HEADER_BYTES)
    checked = _Fields(header)
    checked.id = checked.text("id", _ID)
    op = checked.choice("op", ("hello", "predict", "cancel", "status"))
    request: Request
    if op == "hello":
        request = Hello(checked.id)
    elif op == "status":
        request = Status(checked.id, checked.boolean("metrics", False))
    elif op == "cancel":
        request = Cancel(checked.id, checked.optional_text("session", _SESSION))
    else:
        request = _predict(checked, limits)
    checked.finish()
    _check_bodies(request, [len(f) for f in frames[2:]], limits)
    return request


def peek_id(frames: Sequence[Frame]) -> str | None:
    """The id of a message that will be refused unread, if it has one."""
    try:
        identity = _open(frames, MAX_HEADER_BYTES).get("id")
    except WireError:
        return None
    return identity if isinstance(identity, str) and _ID.fullmatch(identity) else None


def _predict(f: _Fields, limits: Limits) -> Predict:
    image = f.record("image")
    encoding = image.choice("encoding", IMAGE_ENCODINGS)
    shape: tuple[int, int, int] | None = None
    if encoding == "raw":
        height, width, channels = image.shape("shape", 3, 1 << 16)
        if channels not in (1, 3):
            raise image.error(f"image.shape ends in {channels}; an image has 1 or 3 channels")
        shape = (height, width, channels)
        check_pixels(height, width, limits, f.id)
    at = image.optional_integer("at", 0, limits.block_bytes) if encoding == "raw" else None
    image.finish()
    sparse = f.record("sparse") if "sparse" in f.left else None
    sparse_info = None if sparse is None else _sparse(sparse, limits)
    request = Predict(
        id=f.id or "",
        image=ImageInfo(encoding, shape, at),
        sparse=sparse_info,
        session=f.optional_text("session", _SESSION),
        model=f.optional_text("model", _NAME),
        steps=f.optional_integer("steps", 1, limits.steps),
        ensemble=f.integer("ensemble", 1, limits.ensemble, 1),
        size=f.optional_integer("size", 0, limits.size),
        seed=f.integer("seed", 0, 2**63 - 1, 0),
        reply=f.choice("reply", REPLY_ENCODINGS, "float32"),
        latest=f.optional_text("latest", _ID),
        deadline_s=f.optional_number("deadline_s", 0.0, limits.deadline_s),
        progress=f.boolean("progress", True),
        block=f.optional_integer("block", 1, 1 << 53),
        maps_at=tuple(f.integers("maps_at", MAX_BODIES, limits.block_bytes)),
    )
    if (request.block is None) != (at is None) or (request.maps_at and request.block is None):
        raise f.error("block and image.at go together, and maps_at only with them")
    if request.maps_at and reply_itemsize(request.reply) is None:
        raise f.error(f"maps_at is for maps of known size; {request.reply} has none")
    return request


def reply_itemsize(encoding: str) -> int | None:
    """Bytes per pixel of an encoding of maps; None if they depend on the content."""
    return {"float32": 4, "float16": 2, "uint16": 2}.get(encoding)


def _sparse(f: _Fields, limits: Limits) -> SparseInfo:
    kind = f.choice("kind", SPARSE_KINDS)
    rows, columns = f.shape("shape", 2, 1 << 24)
    camera = _camera(f.record("camera")) if "camera" in f.left else None
    if kind == "points":
        if columns != 3 or rows > limits.points:
            raise f.error(f"sparse.shape is {rows}×{columns}; points are N×3 with N up to {limits.points}")
        if camera is None:
            raise f.error("sparse.camera is missing; points need the camera that sees them")
    else:
        check_pixels(rows, columns, limits, f.id)
    f.finish()
    return SparseInfo(kind, (rows, columns), camera)


def _camera(f: _Fields) -> Camera:
    fx, fy = f.number("fx", 1e-3, 1e6), f.number("fy", 1e-3, 1e6)
    cx, cy = f.number("cx", -1e6, 1e6), f.number("cy", -1e6, 1e6)
    camera = Camera(
        fx,
        fy,
        cx,
        cy,
        f.choice("model", CAMERA_MODELS, "pinhole"),
        f.numbers("distortion", range(15), ()),
        f.numbers("points_to_camera", (16,), Camera.points_to_camera),
    )
    f.finish()
    return camera


def check_pixels(height: int, width: int, limits: Limits, id: str | None = None) -> None:  # noqa: A002
    """Refuse an image larger than the limit.

    Raises:
        WireError: It is larger.
    """
    if height * width > limits.megapixels * 1e6:
        raise WireError(
            f"the image is {width}×{height} ({height * width / 1e6:.1f} megapixels); the limit is {limits.megapixels:g}",
            id=id,
        )


def _check_bodies(request: Request, lengths: list[int], limits: Limits) -> None:
    wanted = 0 if not isinstance(request, Predict) else (request.image.at is None) + (request.sparse is not None)
    if len(lengths) != wanted:
        raise WireError(f"the message has {len(lengths)} bodies, its header announces {wanted}", id=request.id)
    if not isinstance(request, Predict):
        return
    shape = request.image.shape
    image_bytes = lengths[0] if request.image.at is None else math.prod(shape or ())
    if image_bytes > limits.image_bytes:
        raise WireError(f"the image has {image_bytes} bytes; the limit is {limits.image_bytes}", id=request.id)
    if shape is not None and image_bytes != math.prod(shape):
        raise WireError(f"image.shape {list(shape)} needs {math.prod(shape)} bytes, not {image_bytes}", id=request.id)
    if request.sparse is not None and lengths[-1] != 4 * math.prod(request.sparse.shape):
        raise WireError(f"sparse.shape {list(request.sparse.shape)} needs {4 * math.prod(request.sparse.shape)} bytes, not {lengths[-1]}", id=request.id)  # fmt: skip


def read_reply(frames: Sequence[Frame]) -> Reply:
    """Check a reply; servers are not trusted blindly either.

    Raises:
        WireError: The message breaks the protocol.
    """
    header = _open(frames, MAX_REPLY_HEADER_BYTES)
    f = _Fields(header)
    op = f.choice("op", ("hello", "status", "progress", "result", "error"))
    if op == "error":
        identity = f.optional_text("id", _ID)
        return Failure(identity, f.choice("code", tuple(ERROR_CODES)), f.sentence("message"))
    f.id = f.text("id", _ID)
    if op in ("hello", "status"):
        return Info(op, f.id, header)
    if op == "progress":
        return Progress(f.id, f.sentence("stage"), f.number("fraction", 0.0, 1.0), f.integer("position", 0, 1 << 31, 0))
    values = _map(f.record("values"))
    uncertainty = _map(f.record("uncertainty")) if f.left.get("uncertainty") is not None else None
    space, metric = f.choice("space", SPACES), f.boolean("metric", False)
    if metric and space != "depth":
        raise f.error(f"a metric map is in space depth, not {space}")
    meta = header.get("meta") or {}
    if not isinstance(meta, dict):
        raise f.error("meta is not an object")
    if uncertainty is not None and uncertainty.shape != values.shape:
        raise f.error("values and uncertainty differ in shape")
    result = Result(f.id, values, space, metric, f.sentence("model"), uncertainty, meta)
    carried = [info for info in (values, uncertainty) if info is not None and info.at is None]
    if len(frames) - 2 != len(carried):
        raise f.error(f"a result with {len(frames) - 2} bodies")
    for info, body in zip(carried, frames[2:], strict=True):
        itemsize = reply_itemsize(info.encoding)
        if itemsize is not None and len(body) != itemsize * math.prod(info.shape):
            raise f.error(f"a {info.encoding} map of {list(info.shape)} needs {itemsize * math.prod(info.shape)} bytes")
    return result


def _map(f: _Fields) -> MapInfo:
    encoding = f.choice("encoding", REPLY_ENCODINGS)
    height, width = f.shape("shape", 2, 1 << 16)
    return MapInfo(
        encoding,
        (height, width),
        f.number("scale", -1e30, 1e30, 1.0),
        f.number("offset", -1e30, 1e30, 0.0),
        f.optional_integer("at", 0, 1 << 53),
    )


def _open(frames: Sequence[Frame], max_header: int) -> Header:
    """Tag, number of frames, header bytes → header."""
    if len(frames) < 2 or len(frames) > MAX_FRAMES:
        raise WireError(f"a message has 2 to {MAX_FRAMES} frames, not {len(frames)}")
    tag = bytes(frames[0]) if len(frames[0]) <= 32 else b""
    if tag != TAG:
        raise WireError(f"the first frame is not {TAG.decode()}; this is protocol version {PROTOCOL}")
    if len(frames[1]) > max_header:
        raise WireError(f"the header has {len(frames[1])} bytes; the limit is {max_header}")
    try:
        header = json.loads(bytes(frames[1]).decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WireError("the header is not JSON in UTF-8") from error
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class _Fields:
    """Takes fields out of a header one by one, each with its type and range; what is left over is an error."""

    def __init__(self, header: Mapping[str, Any], path: str = "", id: str | None = None) -> None:  # noqa: A002
        self.left = dict(header)
        self.path = path
        self.id = id

    def error(self, message: str) -> WireError:
        return WireError(message, id=self.id)

    def finish(self) -> None:
        self.left.pop("op", None)
        if self.left:
            raise self.error(f"unknown field '{self.path}{str(next(iter(self.left)))[:40]}'")

    def record(self, key: str) -> _Fields:
        value = self.left.pop(key, None)
        if not isinstance(value, dict):
            raise self.error(f"{self.path}{key} is missing or not an object")
        return _Fields(value, f"{self.path}{key}.", self.id)

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.left.pop(key, None)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.error(f"{self.path}{key} is missing or not of the form {pattern.pattern}")
        return value

    def optional_text(self, key: str, pattern: re.Pattern[str]) -> str | None:
        return None if self._absent(key) else self.text(key, pattern)

    def sentence(self, key: str) -> str:
        value = self.left.pop(key, None)
        if not isinstance(value, str) or len(value) > 2000:
            raise self.error(f"{self.path}{key} is missing or not a short text")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.left.pop(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.error(f"{self.path}{key} is one of {', '.join(choices)}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.left.pop(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{self.path}{key} is true or false")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.left.pop(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(f"{self.path}{key} is a whole number from {low} to {high}")
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        return None if self._absent(key) else self.integer(key, low, high)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self.left.pop(key, default)
        if not _is_number(value) or not low <= value <= high:
            raise self.error(f"{self.path}{key} is a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        return None if self._absent(key) else self.number(key, low, high)

    def numbers(self, key: str, lengths: Sequence[int], default: tuple[float, ...]) -> tuple[float, ...]:
        value = self.left.pop(key, default)
        if not isinstance(value, list | tuple) or len(value) not in lengths:
            raise self.error(f"{self.path}{key} is a list of numbers")
        if not all(_is_number(one) and abs(one) <= 1e9 for one in value):
            raise self.error(f"{self.path}{key} is a list of numbers up to 1e9")
        return tuple(float(one) for one in value)

    def integers(self, key: str, most: int, high: int) -> list[int]:
        value = self.left.pop(key, None)
        value = [] if value is None else value
        if not isinstance(value, list | tuple) or len(value) > most:
            raise self.error(f"{self.path}{key} is a list of up to {most} whole numbers")
        for one in value:
            if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= high:
                raise self.error(f"{self.path}{key} holds whole numbers from 0 to {high}")
        return list(value)

    def shape(self, key: str, length: int, largest: int) -> tuple[int, ...]:
        value = self.left.pop(key, None)
        if not isinstance(value, list | tuple) or len(value) != length:
            raise self.error(f"{self.path}{key} is a list of {length} whole numbers")
        for one in value:
            if not isinstance(one, int) or isinstance(one, bool) or not 1 <= one <= largest:
                raise self.error(f"{self.path}{key} holds whole numbers from 1 to {largest}")
        return tuple(value)

    def _absent(self, key: str) -> bool:
        if self.left.get(key) is None:
            self.left.pop(key, None)
            return True
        return False


def _is_number(value: Any) -> bool:
    # A comparison, not float(): an integer of 400 digits must not overflow here.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def is_model_name(name: str) -> bool:
    """Whether clients can ask for a model by this name."""
    return _NAME.fullmatch(name) is not None


def with_defaults(request: Predict, model: str, limits: Limits) -> Predict:
    """The request with the server's default model and deadline filled in."""
    deadline_s = limits.deadline_s if request.deadline_s is None else request.deadline_s
    return replace(request, model=request.model or model, deadline_s=deadline_s)
