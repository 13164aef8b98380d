"""Trees with the names that the published lists and archives have: every listed frame is scored, by each set's own rules.

The scores are worked out again here from what was written, by a short literal version of the public evaluation code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest

from leadline.completion import complete
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.evaluation.completion import evaluate_completion
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.protocols import get_protocol
from leadline.evaluation.results import read_rows
from leadline.evaluation.runner import Entry, Sampling, run
from leadline.evaluation.sparse import fill_linear, sample

Truth = tuple[np.ndarray, np.ndarray]  # depth as it is scored, and where
SMALL = layouts.SIZE


class FixedMap:
    """The same relative map whatever the picture: a slope, waves, and a few pixels so low that the fit goes below 0."""

    name, family, space, weights_hash = "fixed", "fixed", Space.DEPTH, "none"
    default_size, default_steps, stochastic = 0, 1, False

    def predict(self, image: Any, **options: Any) -> Any:
        return [DepthPrediction(fixed_map(*one.shape[:2]), Space.DEPTH) for one in image]


def fixed_map(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    values = 1.0 - 0.8 * y / height + 0.1 * np.sin(x / 3.0)
    values[height // 2, width // 2 : width // 2 + 4] = -3.0
    return values.astype(np.float32)


def public_scores(depth: np.ndarray, valid: np.ndarray, floor: float, cap: float) -> dict[str, float]:
    """Marigold's evaluation: least squares in depth, clipped to the set's range."""
    values = fixed_map(*depth.shape).astype(np.float64)
    x, g = values[valid], depth[valid].astype(np.float64)
    scale, shift = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), g, rcond=None)[0]
    p = np.clip(scale * x + shift, floor, cap)
    logs = np.log(p) - np.log(g)
    return {
        "abs_rel": float(np.mean(np.abs(p - g) / g)),
        "delta1": float(np.mean(np.maximum(p / g, g / p) < 1.25)),
        "rmse": float(np.sqrt(np.mean((p - g) ** 2))),
        "rmse_log": float(np.sqrt(np.mean(logs**2))),
        "silog": float(100 * np.sqrt(np.mean(logs**2) - np.mean(logs) ** 2)),
        "irmse": float(1000 * np.sqrt(np.mean((1 / p - 1 / g) ** 2))),
    }


def window(shape: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def nyu(root: Path) -> tuple[str, list[Truth]]:
    lines, truths = [], []
    for k, (scene, number) in enumerate((("bathroom", "0046"), ("bathroom", "0110"), ("study_room", "0612"))):
        raw = layouts.plane(480, 640, 0.8 + k, 11.0)
        raw[60 + k : 90, 100:200] = 0
        for kind, depth in (("depth", raw), ("filled", layouts.plane(480, 640))):
            layouts.write(root / f"test/{scene}/{kind}_{number}.png", layouts.png16(depth, 1000))
        layouts.write(root / f"test/{scene}/rgb_{number}.png", layouts.picture(480, 640))
        lines.append(" ".join(f"test/{scene}/{kind}_{number}.png" for kind in ("rgb", "depth", "filled")))
        depth = np.rint(raw * 1000) / 1000
        truths.append((depth, (depth > 1e-3) & (depth < 10) & window((480, 640), (45, 471), (41, 601))))
    return "\n".join(lines), truths


EIGEN_ROWS, EIGEN_COLUMNS = (
    (int(0.3324324 * 352), int(0.91351351 * 352)),
    (int(0.0359477 * 1216), int(0.96405229 * 1216)),
)


def kitti(root: Path) -> tuple[str, list[Truth]]:
    """Frames of two cameras' sizes; the third line of the list has no ground truth."""
    lines, truths = [], []
    for date, drive, number, (height, width) in (
        ("2011_09_26", "0002", "0000000069", (375, 1242)), ("2011_10_03", "0047", "0000000000", (376, 1241)),
    ):  # fmt: skip
        name = f"{date}_drive_{drive}_sync"
        image, depth = (
            f"{date}/{name}/image_02/data/{number}.png",
            f"{name}/proj_depth/groundtruth/image_02/{number}.png",
        )
        metres = layouts.plane(height, width, 4, 90)
        metres[:, ::3] = 0
        layouts.write(root / image, layouts.picture(height, width))
        layouts.write(root / depth, layouts.png16(metres, 256))
        lines.append(f"{image} {depth} 721.5377")
        left = (width - 1216) // 2
        cut = (np.rint(metres * 256) / 256)[height - 352 :, left : left + 1216]
        truths.append((cut, (cut > 1e-5) & (cut < 80) & window((352, 1216), EIGEN_ROWS, EIGEN_COLUMNS)))
    lines.append("2011_09_26/2011_09_26_drive_0009_sync/image_02/data/0000000384.png None 721.5377")
    return "\n".join(lines), truths


def vkitti2(root: Path) -> tuple[str, list[Truth]]:
    lines, truths = [], []
    for scene, variation in (("Scene01", "clone"), ("Scene20", "15-deg-left")):
        frames = f"{scene}/{variation}/frames"
        image, depth = f"rgb/{frames}/rgb/Camera_0/rgb_00012.jpg", f"depth/{frames}/depth/Camera_0/depth_00012.png"
        stored = layouts.png16(layouts.plane(375, 1242, 4, 120), 100)
        layouts.write(root / image, layouts.picture(375, 1242))
        layouts.write(root / depth, stored)
        lines.append(f"{image} {depth}")
        cut = (stored / 100)[23:, 13:1229]
        truths.append((cut, (cut > 1e-5) & (cut < 80) & window((352, 1216), EIGEN_ROWS, EIGEN_COLUMNS)))
    return "\n".join(lines), truths


def eth3d(root: Path) -> tuple[str, list[Truth]]:
    lines, truths = [], []
    for scene, number in (("courtyard", "DSC_0286"), ("terrains", "DSC_5266")):
        image = f"rgb/{scene}/images/dslr_images/{number}.JPG"
        depth = f"depth/{scene}_dslr_depth/{scene}/ground_truth_depth/dslr_images/{number}.JPG"
        metres = layouts.plane(*SMALL, 2, 40)
        metres[:3] = np.inf
        layouts.write(root / image, layouts.picture(*SMALL))
        layouts.write(root / depth, metres.astype("<f4").tobytes())
        lines.append(f"{image} {depth}")
        truths.append((np.where(np.isfinite(metres), metres, 0), np.isfinite(metres)))
    return "\n".join(lines), truths


def scannet(root: Path) -> tuple[str, list[Truth]]:
    lines, truths = [], []
    for scene, number in (("scene0406_02", "000300"), ("scene0695_03", "001200")):
        metres = layouts.plane(*SMALL, 0.5, 12)
        layouts.write(root / f"{scene}/color/{number}.jpg", layouts.picture(SMALL[0] * 2, SMALL[1] * 2))
        layouts.write(root / f"{scene}/depth/{number}.png", layouts.png16(metres, 1000))
        lines.append(f"{scene}/color/{number}.jpg {scene}/depth/{number}.png")
        depth = np.rint(metres * 1000) / 1000
        truths.append((depth, (depth > 1e-3) & (depth < 10)))
    return "\n".join(lines), truths


def diode(root: Path) -> tuple[str, list[Truth]]:
    """The mask decides alone: 0.4 m and 400 m are scored although the range is 0.6 to 350 m."""
    lines, truths = [], []
    for stem in (
        "indoors/scene_00021/scan_00189/00021_00189_indoors_200_010",
        "outdoor/scene_00022/scan_00193/00022_00193_outdoor_000_030",
    ):
        metres, mask = layouts.plane(*SMALL, 0.4, 400), np.ones(SMALL)
        mask[:, :5] = 0
        layouts.write(root / f"{stem}.png", layouts.picture(*SMALL))
        layouts.write(root / f"{stem}_depth.npy", layouts.npy(metres[..., None]))
        layouts.write(root / f"{stem}_depth_mask.npy", layouts.npy(mask))
        lines.append(f"{stem}.png {stem}_depth.npy {stem}_depth_mask.npy")
        truths.append((metres, mask > 0))
    return "\n".join(lines), truths


def ibims(root: Path) -> tuple[str, list[Truth]]:
    lines, truths = [], []
    for name in ("corridor_01", "meetingroom_06"):
        metres, invalid, transparent = (
            layouts.plane(*SMALL, 1, 20),
            np.full(SMALL, 255, np.uint8),
            np.full(SMALL, 255, np.uint8),
        )
        invalid[:3], transparent[:, :2] = 0, 0
        layouts.write(root / f"rgb/{name}.png", layouts.picture(*SMALL))
        layouts.write(root / f"depth/{name}.png", layouts.png16(metres, 65535 / 50))
        layouts.write(root / f"mask_invalid/{name}.png", invalid)
        layouts.write(root / f"mask_transp/{name}.png", transparent)
        layouts.write(root / f"calib/{name}.txt", "559.77,559.55,315.31,224.90")
        lines.append(name)
        truths.append((np.rint(metres * 65535 / 50) * 50 / 65535, (invalid > 0) & (transparent > 0)))
    return "\n".join(lines), truths


#: Set → (writer of the tree, giving its list and the truth of every listed frame; least and greatest depth of an aligned map).
SETS: dict[str, tuple[Callable[[Path], tuple[str, list[Truth]]], float, float]] = {
    "nyu": (nyu, 1e-3, 10), "kitti": (kitti, 1e-5, 80), "eth3d": (eth3d, 1e-5, 1e4), "scannet": (scannet, 1e-3, 10),
    "diode": (diode, 0.6, 350), "vkitti2": (vkitti2, 1e-5, 80), "ibims": (ibims, 1e-3, 50),
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_every_listed_frame_has_the_scores_of_the_public_code(name: str, tmp_path: Path) -> None:
    write, floor, cap = SETS[name]
    listing, truths = write(tmp_path / "data")
    (tmp_path / "list.txt").write_text(listing + "\n")
    data = open_dataset(name, tmp_path / "data", tmp_path / "list.txt")
    summary = run([Entry("fixed", FixedMap())], data, get_protocol("marigold"), Sampling(ensemble=1), tmp_path / "out")
    model = summary["models"]["fixed"]
    assert (model["scored"], model["failed"], model["unscored"]) == (len(truths), 0, 0)
    assert summary["dataset"]["left_out"] == (1 if name == "kitti" else 0)
    rows = list(read_rows(tmp_path / "out/fixed/images.csv").values())
    expected = [public_scores(depth, valid, floor, cap) for depth, valid in truths]
    for row, scores, (_, valid) in zip(rows, expected, truths, strict=True):
        assert row.pixels == np.count_nonzero(valid)
        for metric, value in scores.items():
            assert row.scores[metric] == pytest.approx(value, rel=2e-6), metric
    assert model["means"]["abs_rel"] == pytest.approx(np.mean([scores["abs_rel"] for scores in expected]), rel=2e-6)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        (
            "dis5k",
            [
                ("DIS-VD/im/1#Accessories#1#Bag#2339506821_83cf9f1d22_o.jpg", "DIS-VD/gt/1#Accessories#1#Bag#2339506821_83cf9f1d22_o.png"),
                ("DIS-VD/im/8#Furniture#5#Kitchen & Dinning#49 x_o.jpg", "DIS-VD/gt/8#Furniture#5#Kitchen & Dinning#49 x_o.png"),
            ],
        ),
        (
            "p3m10k",
            [
                ("P3M-500-NP/original_image/p_015a51a7.jpg", "P3M-500-NP/mask/p_015a51a7.png"),
                ("P3M-500-P/blurred_image/p_00a70ed2.jpg", "P3M-500-P/mask/p_00a70ed2.png"),
            ],
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("listed", [False, True])
def test_mattes_of_every_listed_name(name: str, pairs: list[tuple[str, str]], listed: bool, tmp_path: Path) -> None:
    """A near square on a far ground finds the whole boundary of its own matte: recall 1, also in names with blanks."""
    root, listing = tmp_path / "data", tmp_path / "list.txt"
    matte = np.zeros(SMALL, np.uint8)
    matte[6:18, 8:20] = 255
    for image, mask in pairs:
        layouts.write(root / image, layouts.picture(*SMALL))
        layouts.write(root / mask, matte)
    listing.write_text("".join(f"{image} {mask}\n" for image, mask in pairs))

    class Square(FixedMap):
        def predict(self, image: Any, **options: Any) -> Any:
            return [DepthPrediction(np.where(matte > 0, 1, 5).astype(np.float32), Space.DEPTH) for _ in image]

    data = open_dataset(name, root, listing if listed else None)
    summary = run([Entry("square", Square())], data, get_protocol("fiffdepth"), Sampling(), tmp_path / "out")
    assert summary["models"]["square"]["scored"] == len(pairs)
    assert summary["models"]["square"]["means"]["boundary_recall"] == 1.0


def test_kitti_completion_is_scored_on_all_of_its_truth(tmp_path: Path) -> None:
    folder = tmp_path / "depth_selection/val_selection_cropped"
    truths = []
    for drive, tail in (
        ("2011_10_03_drive_0047", "0000000761_image_03"),
        ("2011_09_26_drive_0002", "0000000005_image_02"),
    ):
        depth = layouts.plane(*SMALL, 4, 70)
        depth[:4] = 0
        sparse = np.where((np.mgrid[0 : SMALL[0], 0 : SMALL[1]].sum(0) % 5 == 0) & (depth > 0), depth, 0)
        layouts.write(folder / f"image/{drive}_sync_image_{tail}.png", layouts.picture(*SMALL))
        layouts.write(
            folder / f"groundtruth_depth/{drive}_sync_groundtruth_depth_{tail}.png", layouts.png16(depth, 256)
        )
        layouts.write(folder / f"velodyne_raw/{drive}_sync_velodyne_raw_{tail}.png", layouts.png16(sparse, 256))
        layouts.write(
            folder / f"intrinsics/{drive}_sync_image_{tail}.txt", "721.5377 0 596.5593 0 721.5377 149.854 0 0 1"
        )
        truths.append([(np.rint(m * 256) / 256).astype(np.float32) for m in (depth, sparse)])
    _completed("kitti-completion", tmp_path, ("given",), {"given": truths}, tmp_path / "out")


def test_nyu_completion_is_nlspns(tmp_path: Path) -> None:
    """Truth halved by the bilinear filter, its middle 304×228, scored on all of it, 500 points and 2 % of the pixels."""
    truths: dict[str, list[list[np.ndarray]]] = {"500": [], "2%": []}
    for number in ("00001", "00015"):
        depth = layouts.plane(480, 640, 0.9, 8.0)
        rgb = np.moveaxis(layouts.picture(480, 640), -1, 0)
        layouts.write(tmp_path / f"nyudepthv2/val/official/{number}.h5", layouts.hdf5(rgb=rgb, depth=depth))
        truth = layouts.halved(depth)[6:234, 8:312]
        for pattern, points in (("500", 500), ("2%", round(0.02 * 304 * 228))):
            sparse = sample(pattern, truth, 0)
            assert np.count_nonzero(sparse) == points
            truths[pattern].append([truth, sparse])
    _completed("nyu-completion", tmp_path, ("500", "2%"), truths, tmp_path / "out")


def _completed(
    name: str, root: Path, patterns: tuple[str, ...], truths: dict[str, list[list[np.ndarray]]], out: Path
) -> None:
    summary = evaluate_completion([], complete, open_dataset(name, root), out, patterns)
    assert (summary["score"], summary["skipped"], summary["problems"]) == ("all", [], [])
    for pattern in patterns:
        errors = [(fill_linear(sparse) - depth)[depth > 0] for depth, sparse in truths[pattern]]
        ours = summary["means"][pattern]["linear"]
        assert ours["images"] == len(errors)
        assert ours["rmse"] == pytest.approx(np.mean([np.sqrt(np.mean(e**2)) for e in errors]), rel=1e-4)
