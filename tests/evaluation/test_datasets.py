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
    assert {name for _, name, *_ in LAYOUTS.values()} | {"da2k", "mattes", "omnidc", *MATTES} == set(READERS)


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


#: Writer and images of each matting or segmentation set.
MATTES = {"am2k": (layouts.am2k, 1), "p3m10k": (layouts.p3m10k, 2), "dis5k": (layouts.dis5k, 1)}


@pytest.mark.parametrize("name", MATTES)
def test_mattes_by_their_own_names(name: str, tmp_path: Path) -> None:
    """P3M-500-P has its pictures in ``blurred_image``, DIS-5K blanks in its names: none may be skipped."""
    writer, images = MATTES[name]
    writer(tmp_path)
    for reader in (name, "mattes"):
        dataset = open_dataset(reader, tmp_path)
        assert len(dataset) == images
        assert all(dataset.load(index).matte.sum() == 12 * 12 for index in range(images))


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
    layouts.nyu_completion(tmp_path / "nc")
    camera = open_dataset("nyu-completion", tmp_path / "nc").load(0).intrinsics
    assert camera == pytest.approx((259.43, 259.73, 154.79, 120.87), abs=0.005)
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


def test_the_crop_of_virtual_kitti_can_be_chosen(tmp_path: Path) -> None:
    """Marigold's configuration says ``valid_mask_crop: eigen``."""
    layouts.vkitti2_archive(tmp_path)
    areas = {}
    for crop in (None, "eigen", "garg", "none"):
        dataset = open_dataset("vkitti2", tmp_path, crop=crop)
        region = scored_region(dataset.load(0), dataset.reader.rules)
        areas[crop] = np.count_nonzero(region)
    rows = int(0.91351351 * 352) - int(0.3324324 * 352)
    assert areas["eigen"] == areas[None] == rows * (int(0.96405229 * 1216) - int(0.0359477 * 1216))
    assert areas["none"] == (352 - 77) * 1216
    with pytest.raises(InputError, match="no crop 'oval'; there are: none, garg, eigen, nyu"):
        open_dataset("vkitti2", tmp_path, crop="oval")


def test_kittis_frames_without_truth_are_counted_not_failed(tmp_path: Path) -> None:
    layouts.kitti(tmp_path)
    drive = "2011_09_26/2011_09_26_drive_0002_sync/image_02/data"
    layouts.write(tmp_path / drive / "0000000000.png", layouts.picture(375, 1242))
    dataset = open_dataset("kitti", tmp_path)
    assert (len(dataset), dataset.left_out) == (2, 1)
    lines = tmp_path / "list.txt"
    lines.write_text(
        f"{drive}/0000000005.png {dataset.frames[0].files[1]} 721.5377\n{drive}/0000000000.png None 721.5377\n"
    )
    dataset = open_dataset("kitti", tmp_path, lines)
    assert (len(dataset), dataset.left_out) == (1, 1)
    assert dataset.load(0).depth_m is not None
    lines.write_text(f"{drive}/0000000000.png None 721.5377\n")
    with pytest.raises(InputError, match=r"none of the 1 images of KITTI \(Eigen\) .* has ground truth"):
        open_dataset("kitti", tmp_path, lines)


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


def test_further_columns_of_a_list_replace_the_files(tmp_path: Path) -> None:
    """``filled_…`` in the second column means the filled depth, not the raw one beside the image."""
    layouts.nyu(tmp_path)
    image = "test/kitchen_0004/rgb_0001.png"
    filled = open_dataset("nyu", tmp_path, _listing(tmp_path, f"{image} {image.replace('rgb_', 'filled_')}\n")).load(0)
    raw = open_dataset("nyu", tmp_path, _listing(tmp_path, f"{image} {image.replace('rgb_', 'depth_')}\n")).load(0)
    assert filled.depth_m is not None
    assert raw.depth_m is not None
    assert (raw.depth_m[100:120, 200:220] == 0).all()
    assert (filled.depth_m > 0).all()
    gone = open_dataset("nyu", tmp_path, _listing(tmp_path, f"{image} test/kitchen_0004/other.png\n"))
    with pytest.raises(InputError, match=r"other\.png is missing"):
        gone.load(0)


def test_lists_of_marigolds_virtual_kitti_of_ibims_and_of_names_with_blanks(tmp_path: Path) -> None:
    layouts.vkitti2_archive(tmp_path / "v")
    line = "{0}/Scene01/clone/frames/{0}/Camera_0/{0}_00000.{1}"
    listing = _listing(tmp_path, f"{line.format('rgb', 'jpg')} {line.format('depth', 'png')}\n")
    assert open_dataset("vkitti2", tmp_path / "v", listing).load(0).depth_m is not None
    layouts.ibims(tmp_path / "i")
    dataset = open_dataset("ibims", tmp_path / "i", _listing(tmp_path, "corridor_01\nkitchen_03\n"))
    assert dataset.load(0).valid is not None
    with pytest.raises(InputError, match="kitchen_03 is missing"):
        dataset.load(1)
    layouts.dis5k(tmp_path / "d")
    frame = open_dataset("dis5k", tmp_path / "d").frames[0]
    for columns in ((frame.files[0],), frame.files):
        assert open_dataset("dis5k", tmp_path / "d", _listing(tmp_path, " ".join(columns) + "\n")).frames[0] == frame


def _listing(folder: Path, text: str) -> Path:
    (folder / "list.txt").write_text(text)
    return folder / "list.txt"


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


@settings(max_examples=60)
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
