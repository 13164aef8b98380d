"""Readers on tiny fixtures in the published layouts; normalisation, crops, latents, sparse conditions."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from leadline.completion.conditioning import sparse_condition
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError, InputError
from leadline.models import Codec
from leadline.sensors.filling import fill_nearest
from leadline.training.augment import Augmentation, augment, nearest, random_crop
from leadline.training.build import codec_config
from leadline.training.conditions import share_of, thin_out
from leadline.training.datasets import (
    VKITTI2_CONDITIONS,
    VKITTI2_SCENES,
    Hypersim,
    PairFolder,
    RenderedShards,
    RgbdSample,
    VirtualKitti2,
)
from leadline.training.latents import CachePlan, encode_views, read_cache, target_named, write_cache
from leadline.training.normalisation import Normalisation, latent_mask
from leadline.training.pictures import PictureFolder
from leadline.training.restyle import filtered
from leadline.training.sources import PixelSource


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def hypersim(tmp_path: Path) -> Path:
    import h5py

    for frame, distance in (("0000", 2.0), ("0001", 70.0)):
        images = tmp_path / "ai_001_001" / "images"
        write_image(images / "scene_cam_00_final_preview" / f"frame.{frame}.tonemap.jpg", picture(12, 16))
        depth = images / "scene_cam_00_geometry_hdf5" / f"frame.{frame}.depth_meters.hdf5"
        depth.parent.mkdir(parents=True, exist_ok=True)
        values = np.full((12, 16), distance, dtype=np.float16)
        values[0, 0] = np.nan
        with h5py.File(depth, "w") as file:
            file["dataset"] = values
    (tmp_path / "split.csv").write_text(
        "scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name\n"
        "ai_001_001,cam_00,0,True,,train\nai_001_001,cam_00,1,True,,test\nai_001_001,cam_00,9,False,bad,\n"
    )
    return tmp_path


def test_hypersim_turns_ray_lengths_into_depth(hypersim: Path) -> None:
    data = Hypersim(hypersim)
    assert len(data) == 2
    sample = data[0]
    assert sample.rgb.shape == (12, 16, 3)
    assert not sample.valid[0, 0]
    # the ray through the corner: 886.81 / sqrt(((w - 1) / 2)^2 + ((h - 1) / 2)^2 + f^2) at 16 pixels width
    focal = 886.81 * 16 / 1024
    assert sample.depth_m[11, 15] == pytest.approx(2.0 * focal / np.sqrt(7.5**2 + 5.5**2 + focal**2), rel=1e-5)


def test_hypersim_takes_the_published_split_and_drops_what_is_too_far(hypersim: Path) -> None:
    assert len(Hypersim(hypersim, hypersim / "split.csv", "train")) == 1
    far = Hypersim(hypersim, hypersim / "split.csv", "test")[0]
    assert far.valid.sum() < far.valid.size  # 70 m is beyond the limit of 65 m near the optical axis


@pytest.fixture
def vkitti2(tmp_path: Path) -> Path:
    frames = tmp_path / "Scene02" / "clone" / "frames"
    write_image(frames / "rgb" / "Camera_0" / "rgb_00000.jpg", picture(375, 1242))
    centimetres = np.full((375, 1242), 1500, dtype=np.uint16)
    centimetres[:60] = 65535
    centimetres[-1, 613:629] = 9000
    write_image(frames / "depth" / "Camera_0" / "depth_00000.png", centimetres)
    return tmp_path


def test_virtual_kitti_knows_centimetres_sky_and_the_benchmark_crop(vkitti2: Path) -> None:
    sample = VirtualKitti2(vkitti2)[0]
    assert sample.rgb.shape == (352, 1216, 3)
    assert sample.depth_m[200, 600] == pytest.approx(15.0)
    assert sample.sky is not None
    assert sample.sky[:37].all()  # 60 rows of sky less the 23 that the crop takes from the top
    assert not sample.sky[37:].any()
    assert not sample.valid[:37].any()
    assert not sample.valid[-1, 600:616].any()  # 90 m is beyond 80 m
    assert VirtualKitti2(vkitti2, crop=False)[0].rgb.shape == (375, 1242, 3)


def test_virtual_kitti_reads_what_the_others_train_on(tmp_path: Path) -> None:
    conditions = (*VKITTI2_CONDITIONS, "fog", "rain", "30-deg-left", "30-deg-right")
    for scene, condition, camera in product(("Scene01", *VKITTI2_SCENES), conditions, (0, 1)):
        frames = tmp_path / scene / condition / "frames"
        for kind, name in (("rgb", "rgb_00000.jpg"), ("depth", "depth_00000.png")):
            file = frames / kind / f"Camera_{camera}" / name
            file.parent.mkdir(parents=True)
            file.touch()
    assert len(VirtualKitti2(tmp_path)) == 4 * 6 * 2
    assert len(VirtualKitti2(tmp_path, scenes=["Scene01"], conditions=None)) == 10 * 2


def test_hypersim_by_a_list(hypersim: Path) -> None:
    rgb, _ = Hypersim(hypersim).pairs[0]
    scene, camera, frame = rgb.parts[-4], rgb.parent.name.removeprefix("scene_")[:6], rgb.name.split(".")[1]
    (hypersim / "list.txt").write_text(f"{scene}/rgb_{camera}_fr{frame}.png {scene}/depth_plane_{camera}_fr{frame}.png")
    assert Hypersim(hypersim, list_file=hypersim / "list.txt").pairs == [Hypersim(hypersim).pairs[0]]
    (hypersim / "list.txt").write_text("ai_999_001/rgb_cam_00_fr0000.png x")
    with pytest.raises(InputError, match="lists ai_999_001"):
        Hypersim(hypersim, list_file=hypersim / "list.txt")
    (hypersim / "list.txt").write_text("nonsense")
    with pytest.raises(InputError, match="names no picture"):
        Hypersim(hypersim, list_file=hypersim / "list.txt")


def test_pair_folder_reads_both_forms(tmp_path: Path) -> None:
    write_image(tmp_path / "rgb" / "a.png", picture(8, 10))
    write_image(tmp_path / "rgb" / "b.jpg", picture(8, 10))
    write_image(tmp_path / "depth" / "a.png", np.full((8, 10), 2500, dtype=np.uint16))
    np.save(tmp_path / "depth" / "b.npy", np.full((8, 10), 3.5, dtype=np.float32))
    data = PairFolder(tmp_path)
    assert [float(data[i].depth_m[0, 0]) for i in range(len(data))] == [2.5, 3.5]


def test_pair_folder_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected rgb"):
        PairFolder(tmp_path)
    write_image(tmp_path / "rgb" / "a.png", picture(8, 10))
    write_image(tmp_path / "depth" / "a.png", np.zeros((8, 10), dtype=np.uint8))
    with pytest.raises(InputError, match="16-bit"):
        PairFolder(tmp_path)[0]
    np.save(tmp_path / "depth" / "a.npy", np.zeros((8, 6), dtype=np.float32))
    (tmp_path / "depth" / "a.png").unlink()
    with pytest.raises(InputError, match="one size"):
        PairFolder(tmp_path)[0]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    depth_m = np.exp(rng.normal(1.0, 0.5, (3, 24, 32))).astype(np.float32)
    valid = np.ones((3, 24, 32), dtype=bool)
    valid[:, :4] = False
    folder = tmp_path / "shards"
    folder.mkdir()
    np.savez(folder / "one.npz", rgb=rng.integers(0, 255, (3, 24, 32, 3), dtype=np.uint8), depth_m=depth_m, valid=valid)
    return folder


def test_rendered_shards_call_invalid_pixels_sky(shards: Path) -> None:
    sample = RenderedShards(shards)[1]
    assert sample.sky is not None
    assert sample.sky[:4].all()
    assert (sample.valid ^ sample.sky).all()
    assert len(RenderedShards(shards, limit=2)) == 2


# -- normalisation


def test_normalisation_by_hand() -> None:
    depth_m = np.array([[1.0, 4.0], [16.0, 4.0]], dtype=np.float32)
    valid = np.ones((2, 2), dtype=bool)
    log = Normalisation(Space.LOG_DEPTH, low=0.0, high=1.0)(depth_m, valid)
    assert log == pytest.approx(np.array([[-1.0, 0.0], [1.0, 0.0]]), abs=1e-6)  # d~ = 2 ((ln d - a) / (b - a) - 1/2)
    root = Normalisation(Space.SQRT_DISPARITY, low=0.0, high=1.0)(depth_m, valid)
    assert root == pytest.approx(np.array([[1.0, -1 / 3], [-1.0, -1 / 3]]), abs=1e-6)  # 1, 1/2, 1/4


def test_data_set_quantiles_and_clipping() -> None:
    depth_m, valid = np.array([[1.0, 100.0]], dtype=np.float32), np.ones((1, 2), dtype=bool)
    kept = Normalisation(Space.LOG_DEPTH, clip=np.inf, depth_range_m=(1.0, 10.0))(depth_m, valid)
    assert kept == pytest.approx(np.array([[-1.0, 3.0]]))
    assert Normalisation(Space.LOG_DEPTH, depth_range_m=(1.0, 10.0))(depth_m, valid)[0, 1] == 1.0


def test_sky_is_at_the_far_end_and_holes_take_their_neighbour() -> None:
    depth_m = np.array([[1.0, 0.0, 4.0, 0.0]], dtype=np.float32)
    valid, sky = depth_m > 0, np.array([[False, False, False, True]])
    near_high = Normalisation(Space.SQRT_DISPARITY, 0.0, 1.0)(depth_m, valid, sky)
    assert near_high[0, 3] == -1.0
    assert near_high[0, 1] in (near_high[0, 0], near_high[0, 2])
    assert Normalisation(Space.LOG_DEPTH, 0.0, 1.0)(depth_m, valid, sky)[0, 3] == 1.0


def test_an_empty_depth_map_is_refused() -> None:
    with pytest.raises(InputError, match="without a single valid"):
        Normalisation(Space.DEPTH)(np.zeros((2, 2), dtype=np.float32), np.zeros((2, 2), dtype=bool))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_fill_nearest_agrees_with_a_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((6, 7)).astype(np.float32)
    known = rng.random((6, 7)) < 0.3
    known[rng.integers(6), rng.integers(7)] = True
    filled = fill_nearest(values, known)
    ys, xs = np.nonzero(known)
    for y in range(6):
        for x in range(7):
            squared = (ys - y) ** 2 + (xs - x) ** 2
            assert filled[y, x] in values[ys[squared == squared.min()], xs[squared == squared.min()]]


def test_latent_mask_needs_every_pixel() -> None:
    known = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    known[..., 3, 9] = False
    assert latent_mask(known, 8).tolist() == [[[[True, False], [True, True]]]]


# -- crops


@given(st.integers(0, 2**32 - 1), st.integers(9, 60), st.integers(9, 60))
@settings(max_examples=25)
def test_crops_stay_inside_and_keep_the_aspect(seed: int, height: int, width: int) -> None:
    top, left, h, w = random_crop((height, width), (8, 16), 0.5, np.random.default_rng(seed))
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert abs(h / w - 0.5) <= 1.0 / w + 0.1


def test_augmentation_moves_picture_and_depth_together() -> None:
    depth_m = np.tile(np.arange(1.0, 33.0, dtype=np.float32), (24, 1))
    rgb = np.repeat((depth_m * 4).astype(np.uint8)[..., None], 3, axis=2)
    sample = RgbdSample(rgb, depth_m, np.ones_like(depth_m, dtype=bool))
    for seed in range(6):
        out = augment(sample, (12, 16), Augmentation(colour=0.0), np.random.default_rng(seed))
        assert out.rgb.shape == (12, 16, 3)
        assert np.abs(out.rgb[..., 0] / 4.0 - out.depth_m).max() < 2.0
        assert np.isin(out.depth_m, depth_m).all()  # nearest neighbour: no new depths


def test_the_share_of_plain_pictures_keeps_its_colours() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    sample = RgbdSample(rgb, np.ones((24, 32), np.float32), np.ones((24, 32), bool), None)
    how = Augmentation(min_scale=1.0, flip=False, plain=0.5)
    kept = [np.array_equal(augment(sample, (24, 32), how, np.random.default_rng(seed)).rgb, rgb) for seed in range(200)]
    assert 0.4 < np.mean(kept) < 0.6


def test_a_frame_is_plain_and_leaves_the_depth() -> None:
    rgb = np.random.default_rng(0).integers(60, 90, (48, 64, 3), dtype=np.uint8)
    depth_m = np.ones((48, 64), dtype=np.float32)
    sample = RgbdSample(rgb, depth_m, np.ones_like(depth_m, dtype=bool))
    how = Augmentation(min_scale=1.0, flip=False, colour=0.0, frame=1.0)
    for seed in range(8):
        out = augment(sample, (48, 64), how, np.random.default_rng(seed))
        rim = np.concatenate([out.rgb[0], out.rgb[-1], out.rgb[:, 0], out.rgb[:, -1]])
        assert (rim == rim[0]).all()
        assert np.array_equal(out.rgb[2:-2, 3:-3], rgb[2:-2, 3:-3])
        assert np.array_equal(out.depth_m, depth_m)
    unframed = augment(sample, (48, 64), Augmentation(1.0, False, 0.0), np.random.default_rng(0))
    assert np.array_equal(unframed.rgb, rgb)


@pytest.mark.parametrize("kind", ["filters", "development", "jpeg"])
def test_other_looks_change_their_share_of_pictures_and_no_depth(kind: str) -> None:
    rng = np.random.default_rng(0)
    rgb = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8), (0, 0), 2.0)
    sample = RgbdSample(rgb, rng.uniform(1.0, 9.0, (48, 64)).astype(np.float32), np.ones((48, 64), bool), None)
    how = Augmentation(min_scale=1.0, flip=False, colour=0.0, **{kind: 0.5})
    made = [augment(sample, (48, 64), how, np.random.default_rng(seed)) for seed in range(60)]
    again = [augment(sample, (48, 64), how, np.random.default_rng(seed)) for seed in range(60)]
    changed = [not np.array_equal(out.rgb, rgb) for out in made]
    assert 0.2 < np.mean(changed) < 0.7
    assert all(np.array_equal(one.rgb, other.rgb) for one, other in zip(made, again, strict=True))
    assert all(np.array_equal(out.depth_m, sample.depth_m) for out in made)
    assert all(out.rgb.shape == rgb.shape and out.rgb.dtype == np.uint8 for out in made)


def test_an_unknown_augmentation_is_refused_by_name() -> None:
    assert Augmentation.of({"jpeg": 0.3}) == Augmentation(jpeg=0.3)
    with pytest.raises(InputError, match=r"unknown key 'jpg' in data\.augmentation; known are colour"):
        Augmentation.of({"jpg": 0.3})


def test_a_filtered_picture_keeps_brightness_and_contrast_of_each_channel() -> None:
    tilt = np.linspace(90.0, 150.0, 64)[None, :, None] + np.array([0.0, 8.0, -8.0])
    rgb = np.broadcast_to(tilt, (48, 64, 3)).astype(np.uint8)
    for seed in range(8):
        out = filtered(rgb, np.random.default_rng(seed)).astype(np.float32)
        assert np.allclose(out.mean((0, 1)), rgb.mean((0, 1)), atol=2.0)
        assert (out.std((0, 1)) < 1.1 * rgb.std((0, 1)) + 1.0).all()


def test_nearest_is_centre_exact() -> None:
    assert nearest(np.arange(9)[None].repeat(2, 0), (1, 3)).tolist() == [[1, 4, 7]]


def test_pictures_without_depth_come_at_their_ratio(shards: Path) -> None:
    picture = np.zeros((24, 32, 3), dtype=np.uint8)
    source = PixelSource(
        [RenderedShards(shards)], [1.0], [[(24, 32)]], [target_named("log_depth")], Augmentation(),
        unlabelled=[picture], unlabelled_ratio=0.375,  # type: ignore[arg-type]
    )  # fmt: skip
    batches = [source.sample(torch.Generator().manual_seed(seed), 4) for seed in range(16)]
    counts = [len(batch.get("unlabelled_rgb", ())) for batch in batches]
    assert set(counts) == {1, 2}  # 1.5 in the mean
    assert 18 <= sum(counts) <= 30


# -- sparse depth


def test_sparse_condition_by_hand() -> None:
    sparse = np.zeros((40, 40), dtype=np.float32)
    sparse[0, 0], sparse[39, 39] = 1.0, np.e**2
    condition = sparse_condition(sparse)
    low, high = np.quantile([0.0, 2.0], [0.02, 0.98])
    assert condition.centre == pytest.approx((low + high) / 2)
    assert condition.half_range == pytest.approx((high - low) / 2)
    assert condition.dense[0, 0] == pytest.approx((0.0 - condition.centre) / condition.half_range)
    assert condition.dense[0, 5] == condition.dense[0, 0]
    assert condition.distance[0, 0] == -1.0
    assert condition.distance[0, 5] == pytest.approx(2 * 5 / 10 - 1)  # a quarter of 40 pixels is the farthest
    assert condition.to_log_depth(condition.dense)[39, 39] == pytest.approx(2.0, abs=1e-5)
    with pytest.raises(InputError):
        sparse_condition(np.zeros((4, 4), dtype=np.float32))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_thinned_depth_is_a_subset(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth_m = rng.uniform(1, 10, (40, 60)).astype(np.float32)
    valid = rng.random((40, 60)) < 0.9
    sparse = thin_out(depth_m, valid, rng)
    kept = sparse > 0
    assert kept.any()
    assert not (kept & ~valid).any()
    assert np.abs(sparse[kept] / depth_m[kept] - 1).max() < 0.06


def test_a_share_of_the_pixels_is_exact() -> None:
    depth_m = np.full((100, 100), 3.0, dtype=np.float32)
    valid = np.ones((100, 100), dtype=bool)
    valid[:50] = False
    sparse = share_of(depth_m, valid, 0.02, np.random.default_rng(0))
    assert not sparse[:50].any()
    assert 60 < np.count_nonzero(sparse) < 140  # 2 % of the 5000 known
    assert set(np.unique(sparse)) == {0.0, 3.0}


# -- latents


@pytest.fixture
def codec() -> Codec:
    torch.manual_seed(0)
    return Codec(codec_config([8, 8, 8, 8], 4, 4), 1.0).eval().requires_grad_(False)


def test_cached_latents_are_those_of_the_codec(shards: Path, codec: Codec, tmp_path: Path) -> None:
    plan = CachePlan(
        {"sqrt_disparity": target_named("sqrt_disparity"), "log_depth": target_named("log_depth")},
        sizes=[(24, 32), (16, 32)], shares=[0.5, 0.5], views=4,
    )  # fmt: skip
    data = RenderedShards(shards)
    write_cache(codec, data, plan, tmp_path / "cache", "codec-1", chunk=2, report=lambda line: None)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("*.safetensors")}
    assert len(files) == 2
    write_cache(codec, data, plan, tmp_path / "cache", "codec-1", chunk=2, report=lambda line: None)
    assert files == {path: path.stat().st_mtime_ns for path in files}  # nothing was done twice
    source = read_cache([tmp_path / "cache"], "log_depth")
    assert sum(len(group["image"]) for group in source.groups) == 12
    batch = source.sample(torch.Generator().manual_seed(0), 3)
    assert batch["image"].shape == batch["depth"].shape
    assert batch["image"].shape[:2] == (3, 4)
    assert batch["mask"].shape[1] == 1
    height, width = batch["image"].shape[-2:]
    assert batch["sampled_m"].shape == (3, 2 * height, 2 * width)  # every fourth pixel of cells of eight
    assert not torch.equal(
        batch["depth"],
        read_cache([tmp_path / "cache"], "sqrt_disparity").sample(torch.Generator().manual_seed(0), 3)["depth"],
    )
    with pytest.raises(CheckpointError, match="another codec"):
        write_cache(codec, data, plan, tmp_path / "cache", "codec-2")
    with pytest.raises(InputError, match="no cached 'depth'"):
        read_cache([tmp_path / "cache"], "depth")


def test_depth_in_a_cache_is_that_of_the_sample(shards: Path, codec: Codec) -> None:
    how = Augmentation(min_scale=1.0, flip=False, colour=0.0)
    data = RenderedShards(shards)
    made = encode_views(codec, data, [0], CachePlan({}, sizes=[data[0].depth_m.shape], augmentation=how))
    (name,) = (name for name in made if name.endswith("/sampled_m"))
    measured = np.where(data[0].valid, data[0].depth_m, 0)[2::4, 2::4]
    assert np.allclose(made[name][0].float().numpy(), measured, rtol=1e-3)


def test_old_and_new_caches_are_not_mixed(shards: Path, codec: Codec, tmp_path: Path) -> None:
    plan = CachePlan({"log_depth": target_named("log_depth")}, sizes=[(24, 32)])
    for folder in ("old", "new"):
        write_cache(codec, RenderedShards(shards), plan, tmp_path / folder, "codec", report=lambda line: None)
    for path in (tmp_path / "old").glob("*.safetensors"):
        save_file({k: v for k, v in load_file(path).items() if not k.endswith("sampled_m")}, path)
    assert "sampled_m" not in read_cache([tmp_path / "old"], "log_depth").groups[0]
    with pytest.raises(InputError, match="only some of the caches"):
        read_cache([tmp_path / "old", tmp_path / "new"], "log_depth")


def test_sparse_caches_hold_the_condition(shards: Path, codec: Codec, tmp_path: Path) -> None:
    plan = CachePlan({}, sizes=[(24, 32)], sparse=True)
    write_cache(codec, RenderedShards(shards), plan, tmp_path / "cache", "codec", report=lambda line: None)
    batch = read_cache([tmp_path / "cache"], "log_depth").sample(torch.Generator().manual_seed(0), 2)
    assert batch["condition"].shape == (2, 8, 3, 4)


def test_data_sets_of_different_sizes_never_share_a_batch(shards: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "real" / "a.jpg", picture(30, 90))
    data = RenderedShards(shards)
    source = PixelSource(
        [data, data], [0.5, 0.5], [[(16, 16)], [(8, 24)]], [target_named("depth")], Augmentation(),
        PictureFolder(tmp_path / "real"),
    )  # fmt: skip
    batches = [source.sample(torch.Generator().manual_seed(seed), 2) for seed in range(12)]
    assert {tuple(batch["rgb"].shape[2:]) for batch in batches} == {(16, 16), (8, 24)}
    assert all(batch["unlabelled_rgb"].shape == batch["rgb"].shape for batch in batches)


def test_pixel_batches_are_a_function_of_the_generator(shards: Path) -> None:
    source = PixelSource(
        [RenderedShards(shards)], [1.0], [[(16, 16), (8, 24)]], [target_named("sqrt_disparity")], Augmentation()
    )
    first, again, other = (source.sample(torch.Generator().manual_seed(seed), 2) for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["rgb"].shape != other["rgb"].shape or not torch.equal(first["rgb"], other["rgb"])
    assert float(first["target"].abs().max()) <= 1.0
    assert float(first["rgb"].abs().max()) <= 1.0


class Half:
    """One picture: 2 m on the left, sky on the right."""

    def __init__(self, near_m: float = 2.0) -> None:
        self.near_m = near_m

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> RgbdSample:
        sky = np.zeros((16, 16), dtype=bool)
        sky[:, 8:] = True
        depth_m = np.where(sky, 0.0, self.near_m).astype(np.float32)
        return RgbdSample(np.zeros((16, 16, 3), np.uint8), depth_m, ~sky, sky)


@pytest.mark.parametrize("masked", [False, True])
def test_the_sky_is_the_far_end_or_left_out(masked: bool) -> None:
    plain = Augmentation(min_scale=1.0, flip=False, colour=0.0)
    source = PixelSource([Half()], [1.0], [[(16, 16)]], [target_named("depth")], plain, masks_sky=masked)
    known = source.sample(torch.Generator().manual_seed(0), 1)["known"][0, 0]
    assert known[:, :8].all()
    assert bool(known[:, 8:].any()) is not masked


def test_each_data_set_has_its_own_quantiles() -> None:
    """Eq. 6 by hand: log depth, (ln 2 - ln 1) / (ln 4 - ln 1) is the middle; of [2, 8] it is the near end."""
    plain = Augmentation(min_scale=1.0, flip=False, colour=0.0)
    targets = []
    for span in ((1.0, 4.0), (2.0, 8.0)):
        source = PixelSource([Half()], [1.0], [[(16, 16)]], [target_named("log_depth")], plain, depth_ranges_m=[span])
        targets.append(float(source.sample(torch.Generator().manual_seed(0), 1)["target"][0, 0, 0, 0]))
    assert targets == pytest.approx([0.0, -1.0], abs=1e-6)
