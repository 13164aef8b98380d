"""OMNI-DC's pickled frames: read where they hold arrays, refused where they hold anything else, and nothing of it is run."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layouts import write
from numpy.lib import format as npy_format

from leadline.completion import complete
from leadline.errors import InputError
from leadline.evaluation.completion import evaluate_completion
from leadline.evaluation.datasets import open_dataset
from leadline.evaluation.datasets.omnidc import pickled_dictionary


def frame(**changes: Any) -> dict[str, Any]:
    depth = np.linspace(1, 5, 24 * 32, dtype=np.float32).reshape(24, 32, 1)
    depth[0] = 0
    sparse = np.where(np.arange(24 * 32).reshape(24, 32, 1) % 7 == 0, depth, 0).astype(np.float32)
    k = np.array([[40.0, 0, 16], [0, 41.0, 12], [0, 0, 1]])
    return {"gt": depth, "dep": sparse, "rgb": np.zeros((24, 32, 3), np.uint8), "K": k} | changes


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


def test_reads_what_numpy_saved(tmp_path: Path) -> None:
    write(tmp_path / "iBims_LiDAR_64/0001.npy", saved(frame(K=np.eye(3))))
    write(tmp_path / "ARKit_SIFT/0001.npy", saved(frame()))
    write(tmp_path / "KITTI_64/0007.npy", saved(frame(K=[700.0, 701.0, 600.0, 150.0])))
    data = open_dataset("omnidc", tmp_path)
    samples = {one.group: one for one in (data.load(index) for index in range(3))}
    arkit = samples["ARKit_SIFT"]
    assert arkit.depth_m is not None
    assert arkit.sparse_m is not None
    np.testing.assert_array_equal(arkit.depth_m, frame()["gt"][..., 0])
    np.testing.assert_array_equal(arkit.sparse_m, frame()["dep"][..., 0])
    assert arkit.intrinsics == (40.0, 41.0, 16.0, 12.0)
    assert samples["iBims_LiDAR_64"].intrinsics == (490.0, 490.0, 320.0, 240.0)
    assert samples["KITTI_64"].intrinsics == (700.0, 701.0, 600.0, 150.0)
    summary = evaluate_completion([], complete, data, tmp_path / "out", ("given",))
    assert summary["score"] == "all"
    assert summary["means"]["given"]["linear"]["images"] == 3


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("exit 3",)


class Calls:
    def __init__(self, what: Any, *arguments: Any) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> Any:
        return self.what, self.arguments


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Runs(), "system"),
        (Calls(eval, "1"), "eval"),
        (Calls(np.load, "/etc/passwd"), "load"),
        (Calls(np.ndarray, (1 << 40,)), "can be read"),
        (Path("x"), "pathlib"),
    ],
)
def test_anything_but_arrays_is_refused(value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pickled_dictionary(saved(frame(extra=value)), "0001.npy")


def test_damage_and_other_files_are_refused() -> None:
    whole = saved(frame())
    for damaged in (
        b"",
        whole[:40],
        whole[:-50],
        b"PK" + whole,
        npy_header() + pickle.dumps([1, 2]),
        saved(np.ones(3)),
    ):
        with pytest.raises(InputError, match=r"0001\.npy"):
            pickled_dictionary(damaged, "0001.npy")


def npy_header() -> bytes:
    file = io.BytesIO()
    npy_format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return file.getvalue()


@pytest.mark.parametrize("changes", [{"rgb": np.zeros((24, 32))}, {"gt": "none"}, {"dep": np.zeros((2, 24, 32))}])
def test_frames_without_what_they_need_say_so(changes: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path / "a/1.npy", saved(frame(**changes)))
    with pytest.raises(InputError, match=next(iter(changes))):
        open_dataset("omnidc", tmp_path).load(0)
