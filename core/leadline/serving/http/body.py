"""What the body of a request holds: an image, or JSON with an image and sparse depth."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from leadline.errors import LeadlineError
from leadline.serving.http.uploads import Body, Uploads
from leadline.serving.protocol import messages, pixels

#: Time for a request's body to arrive, and longest time without any of it.
UPLOAD_S, IDLE_S = 60.0, 10.0
#: Of a body that is too large so much is read and dropped, as clients first send and then listen.
DISCARDED_BYTES = 32 << 20
JSON = "application/json"
IMAGES = ("image/jpeg", "image/png", "application/octet-stream")

_SPARSE = {
    "type": "object",
    "description": "As in docs/protocol.md, with the float32 numbers in `data`: a map or points with their camera.",
    "required": ["kind", "shape", "data"],
    "properties": {
        "kind": {"enum": list(messages.SPARSE_KINDS)},
        "shape": {"type": "array", "items": {"type": "integer"}, "description": "[height, width] or [n, 3]"},
        "camera": {"type": "object", "description": "fx, fy, cx, cy, model, distortion, points_to_camera"},
        "data": {"type": "string", "format": "byte"},
    },
}
#: For OpenAPI.
DESCRIPTION: dict[str, Any] = {
    "required": True,
    "content": {
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in IMAGES},
        JSON: {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "byte"}, "sparse": _SPARSE},
            }
        },
    },
}


class HttpError(LeadlineError):
    """Something that ends a request with a status of HTTP."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Upload:
    """What was sent.

    Attributes:
        image: A JPEG or PNG.
        encoding: Which of them.
        sparse: What the protocol's header says of the sparse depth; not checked.
        numbers: Its body.
    """

    image: bytes
    encoding: str
    sparse: dict[str, Any] | None = None
    numbers: bytes = b""

    @property
    def bodies(self) -> list[bytes]:
        """As in a message of the protocol."""
        return [self.image] if self.sparse is None else [self.image, self.numbers]


async def read(request: Request, most: int, uploads: Uploads, body: Body) -> Upload:
    """The request's body, if it comes in time and has at most so many bytes.

    Raises:
        HttpError: With the status that says what is wrong.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*IMAGES, JSON):  # also keeps forms of other sites out, which browsers send without asking
        raise HttpError(
            415, "bad_request", f"send a JPEG or PNG as the body, with Content-Type {' or '.join(IMAGES)}, or {JSON}"
        )
    content = await _all_of(request, most, uploads, body)
    if kind == JSON:
        return await asyncio.to_thread(_unpacked, content)
    return Upload(content, _encoding(content))


async def _all_of(request: Request, most: int, uploads: Uploads, body: Body) -> bytes:
    total, ends = 0, asyncio.get_running_loop().time() + UPLOAD_S
    chunks = request.stream()
    while True:
        left_s = ends - asyncio.get_running_loop().time()
        try:
            chunk = await asyncio.wait_for(anext(chunks), min(IDLE_S, max(0.0, left_s)))
        except StopAsyncIteration:
            break
        except asyncio.TimeoutError:
            raise HttpError(408, "bad_request", f"the body did not arrive within {UPLOAD_S:.0f} s") from None
        total += len(chunk)
        if total > most + DISCARDED_BYTES:
            break
        if total <= most and not body.dropped:
            uploads.extend(body, chunk)
    if total > most:
        raise HttpError(413, "bad_request", f"the body has more than {most} bytes")
    if body.dropped:
        raise HttpError(429, "busy", "there are too many uploads at once; try again later")
    return bytes(body.received)


def _unpacked(body: bytes) -> Upload:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HttpError(400, "bad_request", "the body is no JSON object") from error
    if not isinstance(given, dict) or not set(given) <= {"image", "sparse"}:
        raise HttpError(400, "bad_request", "the body is a JSON object with image and, if wanted, sparse")
    image = _bytes(given.get("image"), "image")
    sparse = given.get("sparse")
    if sparse is None:
        return Upload(image, _encoding(image))
    if not isinstance(sparse, dict):
        raise HttpError(400, "bad_request", "sparse is an object with kind, shape, data and, for points, camera")
    numbers = _bytes(sparse.pop("data", None), "sparse.data")
    return Upload(image, _encoding(image), sparse, numbers)


def _bytes(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise HttpError(400, "bad_request", f"{name} is not in base64") from error


def _encoding(image: bytes) -> str:
    try:
        pixels.image_size(image)
    except messages.WireError as error:
        raise HttpError(422, "bad_image", str(error)) from error
    return "png" if image[:4] == b"\x89PNG" else "jpeg"
