"""Message layouts against independent encoders, and against garbage."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_pictures import HEIGHT, INSIDE, SCENE, WIDTH, encoded

from leadline.errors import InputError
from leadline.files.output import millimetres
from leadline.streaming.ros.encodings import (
    IMAGE_ENCODINGS,
    decode_compressed,
    decode_compressed_depth,
    decode_depth,
    decode_image,
    encode_compressed_depth,
    with_limits,
)


@pytest.mark.parametrize("padding", [0, 24])
@pytest.mark.parametrize("encoding", IMAGE_ENCODINGS)
def test_every_encoding_gives_the_colours_that_went_in(encoding: str, padding: int) -> None:
    if padding and encoding in ("nv24", "i420", "yuv420p"):
        pytest.skip("padded, it has no defined layout")
    rows = np.ascontiguousarray(encoded(encoding))
    flat = rows.reshape(rows.shape[0], -1).view(np.uint8)
    step = flat.shape[1] + padding
    padded = np.zeros((rows.shape[0], step), np.uint8)
    padded[:, : flat.shape[1]] = flat
    rgb = decode_image(encoding, HEIGHT, WIDTH, step, padded.tobytes())
    assert rgb.dtype == np.uint8
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    assert rgb.flags.c_contiguous
    grey = encoding in ("mono8", "mono16", "8UC1", "16UC1")
    expected = np.repeat(SCENE[..., 1:2], 3, axis=2) if grey else SCENE
    tolerance = 3 if encoding.startswith(("yuv", "uyvy", "yuyv", "nv", "i420")) else 0
    assert np.abs(rgb[INSIDE].astype(int) - expected[INSIDE]).max() <= tolerance


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
def test_big_endian(encoding: str) -> None:
    rows = np.ascontiguousarray(encoded(encoding))
    little = decode_image(encoding, HEIGHT, WIDTH, rows[0].nbytes, rows.tobytes())
    big = decode_image(encoding, HEIGHT, WIDTH, rows[0].nbytes, rows.byteswap().tobytes(), big_endian=True)
    np.testing.assert_array_equal(little, big)


def test_rgb8_is_not_copied() -> None:
    data = bytearray(SCENE.tobytes())
    rgb = decode_image("rgb8", HEIGHT, WIDTH, WIDTH * 3, data)
    assert np.shares_memory(rgb, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(("kind", "tolerance"), [(".png", 0), (".jpg", 12), (".webp", 12)])
def test_compressed(kind: str, tolerance: int) -> None:
    _, data = cv2.imencode(kind, SCENE[..., ::-1])
    rgb = decode_compressed(data.tobytes())
    assert np.abs(rgb[INSIDE].astype(int) - SCENE[INSIDE]).max() <= tolerance


def test_compressed_bomb_is_refused_by_its_header() -> None:
    _, data = cv2.imencode(".png", np.zeros((64, 64), np.uint8))
    bomb = bytearray(data.tobytes())
    bomb[16:24] = (60000).to_bytes(4, "big") * 2  # width and height of the PNG header
    with pytest.raises(InputError):
        decode_compressed(bytes(bomb))


@settings(max_examples=60)
@given(
    encoding=st.sampled_from([*IMAGE_ENCODINGS, "", "jpeg", "32FC7", "bayer_xxxx8"]),
    height=st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 1]),
    width=st.integers(0, 40) | st.sampled_from([2**31, 2**32 - 1]),
    step=st.integers(0, 400) | st.just(2**32 - 1),
    data=st.binary(max_size=4000),
    big_endian=st.booleans(),
)
def test_any_image_message_is_an_image_or_an_input_error(encoding, height, width, step, data, big_endian) -> None:
    try:
        rgb = decode_image(encoding, height, width, step, data, big_endian)
    except InputError:
        return
    assert rgb.shape == (height, width, 3)


@settings(max_examples=40)
@given(data=st.binary(max_size=300), cut=st.integers(0, 900), flip=st.integers(0, 60))
def test_any_compressed_bytes_are_an_image_or_an_input_error(data: bytes, cut: int, flip: int) -> None:
    _, jpeg = cv2.imencode(".jpg", SCENE)
    damaged = bytearray(jpeg.tobytes()[:cut])
    if flip < len(damaged):
        damaged[flip] ^= 0xFF
    for candidate in (data, bytes(damaged)):
        try:
            assert decode_compressed(candidate).shape[2] == 3
        except InputError:
            continue


def test_depth_images() -> None:
    codes = np.array([[0, 1500], [65535, 250]], np.uint16)
    metres = decode_depth("16UC1", 2, 2, 4, codes.tobytes())
    np.testing.assert_allclose(metres, [[0, 1.5], [65.535, 0.25]], rtol=1e-6)
    stored = np.array([[np.nan, 1.5], [np.inf, -1.0]], np.float32)
    np.testing.assert_array_equal(decode_depth("32FC1", 2, 2, 8, stored.tobytes()), [[0, 1.5], [0, 0]])
    np.testing.assert_array_equal(decode_depth("32FC1", 2, 2, 8, stored.byteswap().tobytes(), True), [[0, 1.5], [0, 0]])
    with pytest.raises(InputError, match="16UC1"):
        decode_depth("rgb8", 2, 2, 6, bytes(12))


def test_rep_117_values_and_millimetres() -> None:
    depth = np.array([[0.01, 1.0, 80.0, np.nan]], np.float32)
    limited = with_limits(depth, 0.1, 50.0)
    np.testing.assert_array_equal(limited, np.array([[-np.inf, 1.0, np.inf, np.nan]], np.float32))
    np.testing.assert_array_equal(depth[0, :3], np.array([0.01, 1.0, 80.0], np.float32))
    # What millimetres in 16 bits cannot say is "unknown", never a cap.
    np.testing.assert_array_equal(millimetres(limited), [[0, 1000, 0, 0]])
    np.testing.assert_array_equal(millimetres(np.array([[65.535, 65.536, 1.0004]], np.float32)), [[65535, 0, 1000]])


def test_compressed_depth_round_trip_is_even_in_disparity() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.2, 80.0, (40, 60)).astype(np.float32)
    depth[0, :3] = (np.nan, np.inf, -np.inf)
    payload = encode_compressed_depth(depth, 0.1, 100.0)
    back = decode_compressed_depth(payload)
    known = np.isfinite(depth)
    assert np.isnan(back[~known]).all()
    half_step = 0.5 * (1 / 0.1 - 1 / 100.0) / 65534
    assert np.abs(1 / back[known] - 1 / depth[known]).max() < 1.5 * half_step


def test_compressed_images_with_much_metadata_and_of_other_kinds() -> None:
    jpeg = cv2.imencode(".jpg", SCENE[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    profile = b"\xff\xe2" + (65_000).to_bytes(2, "big") + b"ICC_PROFILE\0".ljust(64_998, b"x")
    thick = jpeg[:2] + 3 * profile + jpeg[2:]  # 195 KB before the size is told
    np.testing.assert_array_equal(decode_compressed(thick), decode_compressed(jpeg))
    webp = cv2.imencode(".webp", SCENE[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1]
    np.testing.assert_array_equal(decode_compressed(webp), SCENE)
