"""Every reader on a tiny data set in its published layout and encoding, from a folder and from a tar."""

from __future__ import annotations

import pickle
from pathlib import Path

import layouts
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LAYOUTS

from leadline.errors import InputError
from leadline.evaluation.datasets import READERS, formats, open_dataset
from leadline.evaluation.scoring import scored_region


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "tar"])
def test_reads_what_was_written(case: str, packed: bool, tmp_path: Path) -> None:
    writer, name, frames, tolerance = LAYOUTS[case]
    root = tmp_path / "data"
    truth = writer(root)
    dataset = open_dataset(name, layouts.pack(root, tmp_path / "data.tar") if packed else root)
    assert len(dataset) == frames
    sample = pickle.loads(pickle.dumps(dataset)).load(0)
    assert sample.image.shape == (*truth.shape, 3)
    assert sample.image.dtype == np.uint8
    assert sample.depth_m is not None
    assert sample.depth_m.dtype == np.float32
    np.testing.assert_allclose(sample.depth_m, truth, atol=tolerance, rtol=1e-6)
    assert scored_region(sample, dataset.reader.rules).any()


def test_every_reader_is_tested() -> None:
    assert {name for _, name, *_ in LAYOUTS.values()} | {"da2k", "mattes"} == set(READERS)


def test_da2k_pairs_put_the_nearer_point_first(tmp_path: Path) -> None:
    layouts.da2k(tmp_path)
    sample = open_dataset("da2k", tmp_path).load(0)
    assert sample.pairs == ((20, 3, 2, 30), (22, 5, 1, 1))
    assert sample.group == "indoor"
    assert sample.depth_m is None


def test_mattes(tmp_path: Path) -> None:
    layouts.mattes(tmp_path)
    matte = open_dataset("mattes", tmp_path).load(0).matte
    assert matte is not None
    assert matte.sum() == 12 * 12


def test_extras_of_single_readers(tmp_path: Path) -> None:
    layouts.diode(tmp_path / "diode")
    valid = open_dataset("diode", tmp_path / "diode").load(0).valid
    assert valid is not None
    assert not valid[:5].any()
    assert valid[5:].all()
    layouts.ibims(tmp_path / "ibims")
    sample = open_dataset("ibims", tmp_path / "ibims").load(0)
    assert sample.intrinsics == (559.77, 559.55, 315.31, 224.90)
    assert sample.valid is not None
    assert not sample.valid[:3].any()
    layouts.kitti_completion(tmp_path / "kc")
    sample = open_dataset("kitti-completion", tmp_path / "kc").load(0)
    assert sample.intrinsics == (721.5377, 721.5377, 596.5593, 149.854)
    assert sample.sparse_m is not None
    assert np.count_nonzero(sample.sparse_m) == layouts.SIZE[0] * layouts.SIZE[1] / 4
    layouts.pairs(tmp_path / "pairs")
    a, _, _, d = (open_dataset("pairs", tmp_path / "pairs").load(i) for i in range(4))
    assert (a.intrinsics, a.metric) == ((30.0, 31.0, 16.0, 12.0), True)
    assert (d.intrinsics, d.metric) == (None, False)


def test_crops_follow_the_protocols(tmp_path: Path) -> None:
    layouts.nyu(tmp_path / "nyu")
    dataset = open_dataset("nyu", tmp_path / "nyu")
    rows, columns = np.nonzero(scored_region(dataset.load(0), dataset.reader.rules))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (45, 470, 41, 600)
    layouts.kitti(tmp_path / "kitti")
    dataset = open_dataset("kitti", tmp_path / "kitti")
    rows, columns = np.nonzero(scored_region(dataset.load(0), dataset.reader.rules))
    assert (rows.min(), rows.max()) == (int(0.3324324 * 352), int(0.91351351 * 352) - 1)
    assert columns.min() >= int(0.0359477 * 1216)


def test_sky_beyond_the_cap_is_not_scored(tmp_path: Path) -> None:
    layouts.vkitti2(tmp_path)
    dataset = open_dataset("vkitti2", tmp_path)
    assert not scored_region(dataset.load(0), dataset.reader.rules)[:77].any()


def test_sintel_prefers_final(tmp_path: Path) -> None:
    layouts.sintel(tmp_path)
    assert open_dataset("sintel", tmp_path).frames[0].files[0] == "training/final/alley_1/frame_0001.png"


def test_split_lists(tmp_path: Path) -> None:
    layouts.nyu(tmp_path / "data")
    listing = tmp_path / "list.txt"
    listing.write_text(
        "test/kitchen_0004/rgb_0002.png test/kitchen_0004/depth_0002.png test/kitchen_0004/filled_0002.png\n"
        "test/gone/rgb_0001.png test/gone/depth_0001.png test/gone/filled_0001.png\n"
        "test/no_truth/rgb_0001.png None\n\n"
    )
    dataset = open_dataset("nyu", tmp_path / "data", split=listing)
    assert [frame.name for frame in dataset.frames] == ["test/kitchen_0004/rgb_0002.png", "test/gone/rgb_0001.png"]
    dataset.load(0)
    with pytest.raises(InputError, match=r"test/gone/rgb_0001\.png is missing"):
        dataset.load(1)
    assert len(open_dataset("nyu", tmp_path / "data", limit=1)) == 1


def test_exif_orientation_does_not_turn_the_image_off_its_depth(tmp_path: Path) -> None:
    from PIL import ExifTags, Image

    layouts.eth3d(tmp_path)
    path = tmp_path / "rgb/office/images/dslr_images/DSC_0219.JPG"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.open(path).save(path, exif=exif)
    assert open_dataset("eth3d", tmp_path).load(0).image.shape[:2] == layouts.SIZE


class TestComplaints:
    def test_unknown_set_and_root(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no data set 'nope'; there are: nyu"):
            open_dataset("nope", tmp_path)
        with pytest.raises(InputError, match="neither a folder nor an archive"):
            open_dataset("nyu", tmp_path / "gone")
        with pytest.raises(InputError, match=r"nothing under .* looks like NYUv2"):
            open_dataset("nyu", tmp_path)
        (tmp_path / "bad.tar").write_bytes(b"not a tar")
        with pytest.raises(InputError, match="tar archive"):
            open_dataset("nyu", tmp_path / "bad.tar")
        with pytest.raises(InputError, match="split list"):
            open_dataset("nyu", tmp_path, split=tmp_path / "gone.txt")

    @pytest.mark.parametrize("case", LAYOUTS)
    def test_every_damaged_file_is_reported(self, case: str, tmp_path: Path) -> None:
        writer, name, *_ = LAYOUTS[case]
        writer(tmp_path)
        dataset = open_dataset(name, tmp_path)
        for path in dataset.frames[0].files:
            file = tmp_path / path
            whole = file.read_bytes()
            for damage in (b"", whole[: len(whole) // 3], b"\x00" * 64):
                file.write_bytes(damage)
                with pytest.raises(InputError):
                    dataset.load(0)
            file.unlink()
            with pytest.raises(InputError, match="missing"):
                dataset.load(0)
            file.write_bytes(whole)
        dataset.load(0)

    def test_sizes_that_do_not_fit(self, tmp_path: Path) -> None:
        layouts.pairs(tmp_path)
        layouts.write(tmp_path / "a.depth.npy", layouts.npy(np.ones((5, 5))))
        (tmp_path / "a.depth.npz").unlink()
        with pytest.raises(InputError, match="a: the image is 32×24, its depth is 5×5"):
            open_dataset("pairs", tmp_path).load(0)

    def test_points_outside_of_the_image(self, tmp_path: Path) -> None:
        layouts.da2k(tmp_path)
        text = (tmp_path / "annotations.json").read_text().replace("[20, 3]", "[20, 99]")
        (tmp_path / "annotations.json").write_text(text)
        with pytest.raises(InputError, match="outside"):
            open_dataset("da2k", tmp_path).load(0)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([formats.npy, formats.pfm, formats.dpt, lambda d, n: formats.npz(d, n, "depth")]),
    st.sampled_from([b"", b"Pf\n2 2\n-1.0\n", b"\x93NUMPY\x01\x00", b"PK\x03\x04", np.float32(202021.25).tobytes()]),
    st.binary(max_size=80),
)
def test_any_bytes_are_depth_or_an_input_error(decode, head: bytes, tail: bytes) -> None:
    try:
        decoded = decode(head + tail, "file")
    except InputError:
        return
    assert isinstance(decoded, np.ndarray)
