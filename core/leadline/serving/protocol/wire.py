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
from dataclasses import asdict, replace
from typing import Any

from leadline.serving.protocol.fields import Fields
from leadline.serving.protocol.messages import (
    CAMERA_MODELS,
    DETAILS,
    ERROR_CODES,
    IMAGE_ENCODINGS,
    MAX_BODIES,
    MAX_HEADER_BYTES,
    MAX_REPLY_BODIES,
    MAX_REPLY_HEADER_BYTES,
    NORMALS_ENCODINGS,
    OUTPUTS,
    PROTOCOL,
    REPLY_ENCODINGS,
    SPACES,
    SPARSE_KINDS,
    TAG,
    CameraInfo,
    Cancel,
    Failure,
    Frame,
    Header,
    Hello,
    ImageInfo,
    Info,
    Limits,
    MapInfo,
    Predict,
    Progress,
    Reply,
    Request,
    Result,
    SparseInfo,
    Status,
    WireError,
)

_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SESSION = re.compile(r"[A-Za-z0-9_-]{16,64}")
_TRACE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


# Made once: json.dumps and json.loads make theirs anew for every message with options.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_decode = json.JSONDecoder(parse_constant=_no_constant).decode


# --- writing -----------------------------------------------------------------------------------------------------


def pack(header: Mapping[str, Any], bodies: Sequence[Frame] = ()) -> list[Frame]:
    """Frames of a message."""
    return [TAG, _encode(header).encode(), *bodies]


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
    header = _open(frames, MAX_HEADER_BYTES, MAX_BODIES)
    checked = Fields(header)
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
        identity = _open(frames, MAX_HEADER_BYTES, MAX_BODIES).get("id")
    except WireError:
        return None
    return identity if isinstance(identity, str) and _ID.fullmatch(identity) else None


def _predict(f: Fields, limits: Limits) -> Predict:
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
        detail=f.choice("detail", DETAILS, "off"),
        output=f.choice("output", OUTPUTS, "depth"),
        reply=f.choice("reply", REPLY_ENCODINGS, "float32"),
        latest=f.optional_text("latest", _ID),
        steady=f.optional_text("steady", _ID),
        validity=f.boolean("validity", False),
        deadline_s=f.optional_number("deadline_s", 0.0, limits.deadline_s),
        progress=f.boolean("progress", True),
        block=f.optional_integer("block", 1, 1 << 53),
        maps_at=tuple(f.integers("maps_at", MAX_BODIES, limits.block_bytes)),
        trace=f.optional_text("trace", _TRACE),
    )
    if (request.block is None) != (at is None) or (request.maps_at and request.block is None):
        raise f.error("block and image.at go together, and maps_at only with them")
    if request.maps_at and reply_itemsize(request.reply) is None:
        raise f.error(f"maps_at is for maps of known size; {request.reply} has none")
    if request.output == "normals":
        if request.reply not in NORMALS_ENCODINGS:
            raise f.error(f"normals travel as {' or '.join(NORMALS_ENCODINGS)}, not {request.reply}")
        if request.sparse or request.detail != "off" or request.maps_at or request.steady or request.validity:
            raise f.error("sparse, detail, maps_at, steady and validity are for depth, not for normals")
    return request


def reply_itemsize(encoding: str) -> int | None:
    """Bytes per pixel of an encoding of maps; None if they depend on the content."""
    return {"float32": 4, "float16": 2, "uint16": 2}.get(encoding)


def _sparse(f: Fields, limits: Limits) -> SparseInfo:
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


def _camera(f: Fields) -> CameraInfo:
    fx, fy = f.number("fx", 1e-3, 1e6), f.number("fy", 1e-3, 1e6)
    cx, cy = f.number("cx", -1e6, 1e6), f.number("cy", -1e6, 1e6)
    camera = CameraInfo(
        fx,
        fy,
        cx,
        cy,
        f.choice("model", CAMERA_MODELS, "pinhole"),
        f.numbers("distortion", range(15), ()),
        f.numbers("points_to_camera", (16,), CameraInfo.points_to_camera),
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
    header = _open(frames, MAX_REPLY_HEADER_BYTES, MAX_REPLY_BODIES)
    f = Fields(header)
    op = f.choice("op", ("hello", "status", "progress", "result", "error"))
    if op == "error":
        identity = f.optional_text("id", _ID)
        return Failure(identity, f.choice("code", tuple(ERROR_CODES)), f.sentence("message"))
    f.id = f.text("id", _ID)
    if op in ("hello", "status"):
        return Info(op, f.id, header)
    if op == "progress":
        return Progress(f.id, f.sentence("stage"), f.number("fraction", 0.0, 1.0), f.integer("position", 0, 1 << 31, 0))
    normals = f.choice("output", OUTPUTS, "depth") == "normals"
    values = _map(f.record("values"), 3 if normals else 2)
    uncertainty = _map(f.record("uncertainty")) if f.left.get("uncertainty") is not None else None
    space, metric = None if normals else f.choice("space", SPACES), f.boolean("metric", False)
    if normals and (values.shape[2] != 3 or values.encoding not in NORMALS_ENCODINGS):
        raise f.error(
            f"normals are floats of {list(values.shape[:2])} × 3, not {values.encoding} of {list(values.shape)}"
        )
    if metric and space != "depth":
        raise f.error(f"a metric map is in space depth, not {space}")
    meta = header.get("meta") or {}
    if not isinstance(meta, dict):
        raise f.error("meta is not an object")
    if uncertainty is not None and uncertainty.shape != values.shape[:2]:
        raise f.error("values and uncertainty differ in shape")
    validity = _validity(f.record("validity")) if f.left.get("validity") is not None else None
    if validity is not None and validity.shape != values.shape[:2]:
        raise f.error("values and validity differ in shape")
    result = Result(f.id, values, space, metric, f.sentence("model"), uncertainty, validity, meta)
    carried = [info for info in (values, uncertainty, validity) if info is not None and info.at is None]
    if len(frames) - 2 != len(carried):
        raise f.error(f"a result with {len(frames) - 2} bodies")
    for info, body in zip(carried, frames[2:], strict=True):
        itemsize = 1 if info is validity else reply_itemsize(info.encoding)
        if itemsize is not None and len(body) != itemsize * math.prod(info.shape):
            raise f.error(f"a {info.encoding} map of {list(info.shape)} needs {itemsize * math.prod(info.shape)} bytes")
    return result


def _map(f: Fields, axes: int = 2) -> MapInfo:
    encoding = f.choice("encoding", REPLY_ENCODINGS)
    return MapInfo(
        encoding,
        f.shape("shape", axes, 1 << 16),
        f.number("scale", -1e30, 1e30, 1.0),
        f.number("offset", -1e30, 1e30, 0.0),
        f.optional_integer("at", 0, 1 << 53),
    )


def _validity(f: Fields) -> MapInfo:
    return MapInfo(f.choice("encoding", ("uint8",)), f.shape("shape", 2, 1 << 16))


def _open(frames: Sequence[Frame], max_header: int, max_bodies: int) -> Header:
    """Tag, number of frames, header bytes → header."""
    if not 2 <= len(frames) <= 2 + max_bodies:
        raise WireError(f"a message has 2 to {2 + max_bodies} frames, not {len(frames)}")
    tag = bytes(frames[0]) if len(frames[0]) <= 32 else b""
    if tag != TAG:
        raise WireError(f"the first frame is not {TAG.decode()}; this is protocol version {PROTOCOL}")
    if len(frames[1]) > max_header:
        raise WireError(f"the header has {len(frames[1])} bytes; the limit is {max_header}")
    try:
        header = _decode(bytes(frames[1]).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("the header is not JSON in UTF-8") from error
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header


def is_model_name(name: str) -> bool:
    """Whether clients can ask for a model by this name."""
    return _NAME.fullmatch(name) is not None


def with_defaults(request: Predict, model: str, limits: Limits) -> Predict:
    """The request with the server's default model and deadline filled in."""
    deadline_s = limits.deadline_s if request.deadline_s is None else request.deadline_s
    return replace(request, model=request.model or model, deadline_s=deadline_s)
