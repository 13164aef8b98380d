"""Our PNG files as others read them, and the bytes that the wire has always carried."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from leadline.files.encoded import encoded_alpha, encoded_size
from leadline.files.png import encode_png


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (37, 20), (5, 7, 3)])
@pytest.mark.parametrize("level", [0, 1, 6])
def test_opencv_reads_the_same_pixels(shape: tuple[int, ...], level: int) -> None:
    kinds = [np.uint8] if len(shape) == 3 else [np.uint8, np.uint16]
    for kind in kinds:
        pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
        content = encode_png(pixels, level)
        read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert read.dtype == kind
        np.testing.assert_array_equal(read if len(shape) == 2 else read[..., ::-1], pixels)
        assert encoded_size(content) == (shape[1], shape[0])


@pytest.mark.parametrize(
    ("kind", "mode", "clear", "expected"),
    [
        ("JPEG", "RGB", None, False),
        ("JPEG", "L", None, False),
        ("PNG", "L", None, False),
        ("PNG", "RGB", None, False),
        ("PNG", "RGB", (0, 0, 0), True),
        ("PNG", "RGBA", None, True),
        ("PNG", "LA", None, None),
        ("PNG", "P", None, None),
    ],
)
def test_transparency_by_the_first_bytes(
    kind: str, mode: str, clear: tuple[int, ...] | None, expected: bool | None
) -> None:
    buffer = io.BytesIO()
    Image.new(mode, (9, 7)).save(buffer, kind, **({} if clear is None else {"transparency": clear}))
    content = buffer.getvalue()
    assert encoded_alpha(content) is expected
    assert encoded_alpha(content[:30] if kind == "PNG" and expected is not True else b"") is None
    assert encoded_alpha(b"GIF89a") is None


def test_views_are_stored_as_they_look() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (8, 10, 3), np.uint8)[::-1, ::2]
    assert encode_png(pixels) == encode_png(pixels.copy())


def test_the_filtered_rows_are_those_that_clients_expect() -> None:
    """A client reads no other filter than "up" and no interlacing, so that its reader stays small."""
    content = encode_png(np.array([[1, 2], [258, 2]], np.uint16), 0)
    assert content[24:29] == b"\x10\x00\x00\x00\x00"
    length = int.from_bytes(content[33:37], "big")
    assert zlib.decompress(content[41 : 41 + length]) == bytes([2, 0, 1, 0, 2, 2, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("kind", "shape"), [(np.float32, (4, 4)), (np.uint16, (4, 4, 3)), (np.uint8, (4, 4, 4)), (np.uint8, (4,))]
)
def test_other_pixels_are_refused(kind: type, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no 8-bit grey or RGB"):
        encode_png(np.zeros(shape, kind))
