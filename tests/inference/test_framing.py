"""Sizes, padding and the authors' own resizing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from places import GOLDEN
from safetensors.torch import load_file
from torch.nn.functional import interpolate

from leadline import InputError
from leadline.inference.framing import (
    Framed,
    as_tensor,
    frame_official_depthfm,
    frame_official_one_step,
    frame_padded,
    normalise,
    resize_pixels,
)

PREPROCESS = GOLDEN / "preprocess"


@pytest.fixture(scope="module")
def golden():
    if not (PREPROCESS / "expected.safetensors").exists():
        pytest.skip("the pictures resized by the authors' scripts are not here (set LEADLINE_GOLDEN)")
    return load_file(PREPROCESS / "expected.safetensors")


class TestOfficial:
    @pytest.mark.parametrize(
        "case",
        json.loads((PREPROCESS / "size_cases.json").read_text()),
        ids=lambda c: f"{c['width']}x{c['height']}@{c['max_edge']}",
    )
    def test_sizes(self, case):
        image = np.zeros((case["height"], case["width"], 3), np.uint8)
        size = max(case["max_edge"], 0)
        width, height = case["depthmaster_fiffdepth_width_height"]
        assert frame_official_one_step(image, size).pixels.shape == (3, height, width)
        if case["depthfm_valid"]:
            width, height = case["depthfm_width_height"]
            assert frame_official_depthfm(image, size).pixels.shape == (3, height, width)
        else:
            with pytest.raises(InputError, match="default framing"):
                frame_official_depthfm(image, size)

    @pytest.mark.parametrize(("size", "name"), [(0, "-1"), (128, "128"), (192, "192")])
    def test_depthfm_pixels(self, golden, size, name):
        framed = frame_official_depthfm(golden["image_u8"].numpy(), size)
        assert (framed.pixels.permute(1, 2, 0).int() - golden[f"depthfm_res{name}_u8"].int()).abs().max() <= 1

    @pytest.mark.parametrize("size", [64, 96, 200])
    def test_one_step_pixels(self, golden, size):
        framed = frame_official_one_step(golden["image_u8"].numpy(), size)
        assert (framed.pixels.int() - golden[f"tv_res{size}_bilinear_u8"].int()).abs().max() <= 1

    def test_network_input(self, golden):
        framed = frame_official_one_step(golden["image_u8"].numpy(), 96)
        torch.testing.assert_close(
            normalise(framed.pixels[None], torch.device("cpu"), torch.float32),
            golden["tv_res96_net_input"],
            atol=1e-2,
            rtol=0,
        )

    @pytest.mark.parametrize("size", ["117x174", "48x74"])
    def test_restoring(self, golden, size):
        framed = frame_official_one_step(golden["image_u8"].numpy(), 0)
        torch.testing.assert_close(
            framed.restore(golden[f"depth_{size}"]), golden[f"depth_{size}_to_97x143"], atol=1e-4, rtol=0
        )


class TestPadded:
    @given(
        height=st.integers(8, 90),
        width=st.integers(8, 90),
        size=st.integers(0, 120),
        multiple=st.sampled_from([8, 16, 64]),
    )
    @settings(max_examples=60)
    def test_multiple_and_way_back(self, height, width, size, multiple):
        framed = frame_padded(np.zeros((height, width, 3), np.uint8), size, multiple)
        rows, columns = framed.pixels.shape[1:]
        assert rows % multiple == 0
        assert columns % multiple == 0
        assert framed.restore(torch.zeros(1, 1, rows, columns)).shape == (1, 1, height, width)

    def test_long_edge(self):
        framed = frame_padded(np.zeros((300, 600, 3), np.uint8), 64, 8)
        assert framed.content == (32, 64)

    def test_native_size_keeps_every_pixel_and_replicates_the_border(self, photo):
        framed = frame_padded(photo, 0, 64)
        height, width = photo.shape[:2]
        pixels = framed.pixels.permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(pixels[:height, :width], photo)
        np.testing.assert_array_equal(pixels[height:, :width], np.repeat(photo[-1:], 64 - height, axis=0))

    def test_padding_never_reaches_the_result(self, photo):
        framed = frame_padded(photo, 0, 64)
        maps = torch.zeros(1, 1, *framed.pixels.shape[1:])
        maps[..., photo.shape[0] :, :] = 9
        maps[..., photo.shape[1] :] = 9
        assert framed.restore(maps).max() == 0

    @pytest.mark.parametrize("full", [(96, 128), (96, 40), (30, 40)], ids=["enlarged", "one side shrinks", "shrinks"])
    @pytest.mark.parametrize("in_place", [False, True])
    def test_maps_go_back_antialiased_where_anything_shrinks(self, full, in_place):
        framed = Framed(torch.zeros(3, 48, 64, dtype=torch.uint8), (48, 64), full)
        maps = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        out = torch.empty(1, 1, *full) if in_place else None
        wanted = interpolate(maps[..., :48, :], full, mode="bilinear", align_corners=False, antialias=True)
        torch.testing.assert_close(framed.restore(maps, out), wanted, atol=1e-6, rtol=0)
        assert out is None or torch.equal(out, framed.restore(maps))

    def test_a_plane_survives_the_round_trip(self):
        """Resizing a linear ramp down and up keeps it, away from the border."""
        ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 128, axis=0).repeat(3, axis=2)
        framed = frame_padded(ramp, 64, 8)
        back = framed.restore(framed.pixels[None, :1].float())[0, 0].numpy()
        assert np.abs(back[:, 8:-8] - ramp[:, 8:-8, 0]).max() <= 2


def test_same_size_is_untouched(photo):
    pixels = as_tensor(photo)
    assert resize_pixels(pixels, photo.shape[:2]) is pixels
