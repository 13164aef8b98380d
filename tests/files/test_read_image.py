"""Anything → RGB uint8 (H, W, 3), or one line that says what to do."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leadline import InputError
from leadline.files.image import read_image

RAMP = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
RGB = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class TestKinds:
    @pytest.mark.parametrize(
        ("image", "expected"),
        [
            (RGB, RGB),
            (RAMP, np.repeat(RAMP[..., None], 3, -1)),
            (RAMP[..., None], np.repeat(RAMP[..., None], 3, -1)),
            (np.concatenate([RGB, RAMP[..., None]], -1), RGB),
            (RGB.astype(np.uint16) * 257, RGB),
            ((RGB / 255.0).astype(np.float32), RGB),
            (RGB / 255.0, RGB),
            (torch.from_numpy(RGB), RGB),
            (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
            (torch.from_numpy(RGB).permute(2, 0, 1) / 255.0, RGB),
            (Image.fromarray(RGB), RGB),
            (Image.fromarray(RAMP), np.repeat(RAMP[..., None], 3, -1)),
            (Image.fromarray(np.dstack([RGB, RAMP])), RGB),
            (Image.fromarray(RAMP.astype(np.uint16) * 257), np.repeat(RAMP[..., None], 3, -1)),
            (encoded(Image.fromarray(RGB)), RGB),
            (RGB[:, ::-1][:, ::-1], RGB),
        ],
        ids=["rgb", "grey", "grey1", "rgba", "rgb16", "float32", "float64", "torch-hwc", "torch-chw", "torch-float", "pil", "pil-grey",
             "pil-rgba", "pil-16", "bytes", "view"],
    )  # fmt: skip
    def test_becomes_rgb(self, image, expected):
        result = read_image(image)
        np.testing.assert_array_equal(result, expected)
        assert result.flags.c_contiguous

    @pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr", "LA", "1", "I;16", "F"])
    def test_every_pil_mode(self, mode):
        grey = Image.fromarray(RAMP)
        image = Image.fromarray((RAMP / 255.0).astype(np.float32)) if mode == "F" else grey.convert(mode)
        assert read_image(image).shape == (12, 16, 3)

    def test_exif_orientation_is_honoured(self):
        exif = Image.Exif()
        exif[0x0112] = 6  # turned clockwise by 90° to be upright
        data = encoded(Image.fromarray(RGB), "PNG", exif=exif.tobytes())
        np.testing.assert_array_equal(read_image(data), np.rot90(RGB, -1))


class TestRefusals:
    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((1, 1, 3), np.uint8), "1×1"),
            (np.full((9, 9), np.nan), "NaN"),
            (np.full((9, 9), 2.0), r"\[0, 1\]"),
            (np.zeros((9, 9), np.int64), "int64"),
            (np.zeros((9, 9), bool), "bool"),
            (np.zeros((9, 9, 2), np.uint8), r"\(9, 9, 2\)"),
            (np.zeros((2, 9, 9, 3), np.uint8), r"\(2, 9, 9, 3\)"),
            (np.zeros((0, 0), np.uint8), "0×0"),
            (b"", "cannot|not an image"),
            (b"not an image at all", "not an image"),
            (None, "NoneType"),
            (np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (10_000, 20_000), (0, 0)), "200 megapixels"),
        ],
    )
    def test_says_what_is_wrong(self, image, message):
        with pytest.raises(InputError, match=message) as error:
            read_image(image)
        assert "\n" not in str(error.value)

    def test_missing_file_and_folder(self, tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            read_image(tmp_path / "no.jpg")
        with pytest.raises(InputError, match="folder"):
            read_image(tmp_path)

    def test_empty_file(self, tmp_path):
        (tmp_path / "empty.jpg").touch()
        with pytest.raises(InputError, match="0 bytes"):
            read_image(tmp_path / "empty.jpg")

    def test_large_picture_is_refused_before_it_is_decoded(self):
        """A 200-megapixel PNG of one colour is a few hundred kilobytes."""
        data = encoded(Image.new("1", (20_000, 10_000)))
        with pytest.raises(InputError, match="200 megapixels"):
            read_image(data)

    @given(cut=st.integers(1, 800))
    @settings(max_examples=40)
    def test_truncated_jpeg(self, cut):
        data = encoded(Image.fromarray(np.resize(RGB, (40, 40, 3))), "JPEG")
        with pytest.raises(InputError):
            read_image(data[: min(cut, len(data) - 30)])

    @given(data=st.binary(max_size=400))
    @settings(max_examples=60)
    def test_any_bytes_give_an_image_or_an_input_error(self, data):
        try:
            assert read_image(b"\x89PNG\r\n\x1a\n" + data).ndim == 3
        except InputError:
            return
