from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.serving.protocol import messages, pixels, wire
from leadline.serving.protocol.messages import CameraInfo, ImageInfo, Limits, Predict, SparseInfo, WireError

LIMITS = Limits()
RAW = ImageInfo("raw", (4, 6, 3))
BODY = bytes(4 * 6 * 3)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def read(header: Any, *bodies: bytes) -> messages.Request:
    return wire.read_request([messages.TAG, json.dumps(header).encode(), *bodies], LIMITS)


def predict(**changes: Any) -> dict[str, Any]:
    return {**wire.request_header(Predict("job-1", RAW)), **changes}


requests = st.one_of(
    st.builds(messages.Hello, st.uuids().map(str)),
    st.builds(messages.Status, st.uuids().map(str), st.booleans()),
    st.builds(messages.Cancel, st.uuids().map(str), st.none() | st.uuids().map(lambda u: u.hex)),
    st.builds(
        Predict,
        id=st.uuids().map(lambda u: u.hex),
        image=st.just(RAW) | st.just(ImageInfo("png")),
        model=st.none() | st.just("depthfm-mini"),
        session=st.none() | st.uuids().map(lambda u: u.hex),
        sparse=st.none()
        | st.just(SparseInfo("map", (4, 6)))
        | st.just(SparseInfo("points", (5, 3), CameraInfo(1.0, 2.0, 3.0, 4.0, "plumb_bob", (0.1, 0.2, 0.0, 0.0)))),
        steps=st.none() | st.integers(1, 64),
        ensemble=st.integers(1, 64),
        size=st.none() | st.integers(0, 4096),
        seed=st.integers(0, 2**63 - 1),
        detail=st.sampled_from(messages.DETAILS),
        reply=st.sampled_from(messages.REPLY_ENCODINGS),
        latest=st.none() | st.just("camera"),
        deadline_s=st.none() | st.floats(0, 600),
        progress=st.booleans(),
    ),
    st.builds(
        Predict,
        id=st.uuids().map(lambda u: u.hex),
        image=st.builds(ImageInfo, st.just("raw"), st.just((4, 6, 3)), st.integers(0, 1 << 20)),
        session=st.uuids().map(lambda u: u.hex),
        block=st.integers(1, 1 << 40),
        maps_at=st.lists(st.integers(0, 1 << 20), max_size=2).map(tuple),
    ),
)


@given(requests)
def test_what_is_written_is_what_is_read(request: messages.Request) -> None:
    bodies = []
    if isinstance(request, Predict):
        if request.image.at is None:
            bodies.append(BODY)
        if request.sparse is not None:
            bodies.append(bytes(4 * int(np.prod(request.sparse.shape))))
    assert wire.read_request(wire.pack(wire.request_header(request), bodies), LIMITS) == request


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_any_bytes_are_refused_in_words(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        wire.read_request(frames, LIMITS)
    with pytest.raises(WireError):
        wire.read_reply(frames)


@given(json_values)
def test_any_json_is_refused_in_words(header: Any) -> None:
    with pytest.raises(WireError):
        read(header)
    with pytest.raises(WireError):
        wire.read_reply([messages.TAG, json.dumps(header).encode()])


@settings(max_examples=150)
@given(st.data())
def test_a_field_of_the_wrong_kind_is_accepted_or_refused_but_never_more(data: st.DataObject) -> None:
    fields = ["op", "id", "image", "model", "session", "sparse", "steps", "ensemble", "size", "seed", "detail", "reply", "latest",
              "deadline_s", "progress", "block", "maps_at"]  # fmt: skip
    header = predict(**{data.draw(st.sampled_from(fields)): data.draw(json_values)})
    try:
        request = read(header, BODY)
    except WireError as error:
        request = None
        complaint = str(error)
    if request is None:
        assert complaint
        assert "\n" not in complaint
    else:
        assert isinstance(request, Predict)
        assert 1 <= request.ensemble <= LIMITS.ensemble
        assert request.image == RAW
        assert request.block is None


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"image": {"encoding": "raw", "shape": [4, 6, 3], "path": "/etc/passwd"}}, "unknown field 'image.path'"),
        ({"image": {"encoding": "raw", "shape": [4, 6, 4]}}, "1 or 3 channels"),
        ({"image": {"encoding": "raw", "shape": [65536, 65536, 3]}}, "megapixels"),
        ({"image": {"encoding": "raw", "shape": [4, 7, 3]}}, "needs 84 bytes, not 72"),
        ({"image": {"encoding": "pickle"}}, "image.encoding is one of raw, jpeg, png"),
        ({"ensemble": 65}, "whole number from 1 to 64"),
        ({"ensemble": True}, "whole number"),
        ({"steps": 1.5}, "whole number"),
        ({"deadline_s": -1}, "number from 0"),
        ({"model": "../../secret"}, "model is missing or not of the form"),
        ({"sparse": {"kind": "points", "shape": [5, 3]}}, "need the camera"),
        ({"sparse": {"kind": "map", "shape": [4, 6]}}, "has 1 bodies, its header announces 2"),
        ({"output": "colours"}, "output is one of depth, normals"),
        ({"output": "normals", "reply": "uint16"}, "normals travel as float32 or float16, not uint16"),
        ({"output": "normals", "detail": "edges"}, "for depth, not for normals"),
        ({"block": 1}, "go together"),
        ({"maps_at": [64]}, "go together"),
        ({"block": 0}, "whole number from 1"),
        ({"image": {"encoding": "raw", "shape": [4, 6, 3], "at": -64}}, "whole number from 0"),
        ({"image": {"encoding": "png", "at": 0}, "block": 1}, "unknown field 'image.at'"),
        ({"image": {"encoding": "raw", "shape": [4, 6, 3], "at": 0}, "block": 1}, "announces 0"),
    ],
)
def test_the_refusal_names_the_field(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(WireError, match=complaint.replace("[", r"\[")) as caught:
        read(predict(**changes), BODY)
    assert caught.value.id == "job-1"


def test_maps_of_a_result_are_bodies_or_in_the_block() -> None:
    def result(values_at: int | None, uncertainty_at: int | None, *bodies: bytes) -> messages.Reply:
        values = {"encoding": "float16", "shape": [2, 3], "at": values_at}
        header = {"op": "result", "id": "1", "values": values, "uncertainty": {**values, "at": uncertainty_at},
                  "space": "depth", "model": "m"}  # fmt: skip
        return wire.read_reply([messages.TAG, json.dumps(header).encode(), *bodies])

    body = bytes(12)
    for at in ((None, None, body, body), (0, None, body), (None, 64, body), (0, 64)):
        read_back = result(*at)
        assert isinstance(read_back, messages.Result)
        assert read_back.uncertainty is not None
        assert (read_back.values.at, read_back.uncertainty.at) == at[:2]
    for at in ((None, None, body), (0, None), (0, 64, body), (0, None, body[1:]), (-64, 64)):
        with pytest.raises(WireError):
            result(*at)


def test_what_stands_behind_pixels_is_the_last_body() -> None:
    shape = [2, 3]
    header = {"op": "result", "id": "1", "space": "depth", "metric": True, "model": "m",
              "values": {"encoding": "float32", "shape": shape}, "uncertainty": {"encoding": "float16", "shape": shape},
              "validity": {"encoding": "uint8", "shape": shape}}  # fmt: skip

    def read(*bodies: bytes) -> messages.Reply:
        return wire.read_reply([messages.TAG, json.dumps(header).encode(), *bodies])

    result = read(bytes(24), bytes(12), bytes(6))
    assert isinstance(result, messages.Result)
    assert result.validity == messages.MapInfo("uint8", (2, 3))
    for wrong in ((bytes(24), bytes(12)), (bytes(24), bytes(12), bytes(5)), (bytes(24), bytes(12), bytes(6), b"")):
        with pytest.raises(messages.WireError):
            read(*wrong)
    header["validity"] = {"encoding": "uint8", "shape": [3, 2]}
    with pytest.raises(messages.WireError, match="validity"):
        read(bytes(24), bytes(12), bytes(6))


def test_a_request_for_depth_says_no_more_than_before() -> None:
    assert "output" not in predict()


def test_normals_of_a_result_have_three_components() -> None:
    def result(body: bytes, **changes: Any) -> messages.Reply:
        values = {"encoding": "float16", "shape": [2, 3, 3], **changes.pop("values", {})}
        header = {
            "op": "result",
            "id": "1",
            "output": "normals",
            "space": None,
            "values": values,
            "model": "m",
            **changes,
        }
        return wire.read_reply([messages.TAG, json.dumps(header).encode(), body])

    read_back = result(bytes(36))
    assert isinstance(read_back, messages.Result)
    assert (read_back.values.shape, read_back.space) == ((2, 3, 3), None)
    for changes in (
        {"values": {"shape": [2, 3]}}, {"values": {"shape": [2, 3, 4]}}, {"values": {"encoding": "uint16"}}, {"metric": True},
        {"output": "depth"}, {"uncertainty": {"encoding": "float16", "shape": [2, 3, 3]}},
    ):  # fmt: skip
        with pytest.raises(WireError):
            result(bytes(36), **changes)


@pytest.mark.parametrize(
    "header",
    [b"[" * 16000, b'{"a":' * 3000, b'{"op":1e999}', b'{"op":NaN}', b"9" * 16000, b"\xff\xfe{}", b'"' + b"x" * 20000],
    ids=["deep list", "deep object", "infinite", "nan", "huge integer", "not utf-8", "too long"],
)
def test_json_made_to_hurt(header: bytes) -> None:
    with pytest.raises(WireError):
        wire.read_request([messages.TAG, header], LIMITS)


def test_another_version_is_told_ours() -> None:
    with pytest.raises(WireError, match="protocol version 1"):
        wire.read_request([b"LEADLINE2", b"{}"], LIMITS)


@pytest.mark.parametrize(
    ("encoding", "tolerance"), [("float32", 0), ("float16", 2e-3), ("uint16", 1e-4), ("png16", 1e-4)]
)
@pytest.mark.parametrize("shape", [(1, 1), (37, 53)])
def test_maps_survive_the_journey(encoding: str, tolerance: float, shape: tuple[int, int]) -> None:
    values = (np.random.default_rng(0).random(shape) * 4 - 2).astype(np.float32)
    info, body = pixels.encode_map(values, encoding)
    assert np.abs(pixels.decode_map(info, body) - values).max() <= tolerance


def test_halves_are_the_same_with_and_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    values = np.float32([[1e-3, -2.5, 70000.0, -1e9, 0.1, 65504.0]])
    monkeypatch.delitem(sys.modules, "torch")
    _, plain = pixels.encode_map(values, "float16")
    monkeypatch.setitem(sys.modules, "torch", torch)
    info, quick = pixels.encode_map(values, "float16")
    assert bytes(plain) == bytes(quick)
    assert np.isfinite(pixels.decode_map(info, quick)).all()


def test_a_constant_map_survives_as_integers() -> None:
    values = np.full((5, 7), 3.25, np.float32)
    for encoding in ("uint16", "png16"):
        assert (pixels.decode_map(*pixels.encode_map(values, encoding)) == values).all()


def test_the_png_is_a_png_that_others_read() -> None:
    import cv2

    values = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    info, body = pixels.encode_map(values, "png16")
    read_by_opencv = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read_by_opencv.dtype == np.uint16
    assert np.abs(read_by_opencv * info.scale + info.offset - values).max() < 1e-4


def test_maps_with_nan_and_pngs_that_swell_are_refused() -> None:
    values = np.zeros((8, 8), np.float32)
    values[3, 3] = np.nan
    with pytest.raises(WireError, match="NaN"):
        pixels.decode_map(messages.MapInfo("float32", (8, 8)), values.tobytes())
    _, large = pixels.encode_map(np.zeros((512, 512), np.float32), "png16")
    with pytest.raises(WireError, match="not 16-bit grey of"):
        pixels.decode_map(messages.MapInfo("png16", (8, 8)), large)
    lying = large[:16] + (8).to_bytes(4, "big") * 2 + large[24:]
    with pytest.raises(WireError, match=r"damaged|filter") as caught:
        pixels.decode_map(messages.MapInfo("png16", (8, 8)), lying)
    assert caught.value.code == "bad_request"


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x04\x00\x00"]),
)
def test_sizes_of_any_bytes(data: bytes, prefix: bytes) -> None:
    try:
        height, width = pixels.image_size(prefix + data)
    except WireError as error:
        height, width, code = 0, 0, error.code
    else:
        code = "bad_image"
    assert code == "bad_image"
    assert height >= 0
    assert width >= 0


@pytest.mark.parametrize(("suffix", "options"), [(".png", []), (".jpg", []), (".jpg", "progressive")])
def test_sizes_of_images(suffix: str, options: Any) -> None:
    import cv2

    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if options else []
    _, encoded = cv2.imencode(suffix, np.zeros((31, 47, 3), np.uint8), flags)
    assert pixels.image_size(encoded.tobytes()) == (31, 47)
