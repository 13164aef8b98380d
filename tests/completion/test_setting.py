"""What the points are taken for, and which core does what."""

import threading

import numpy as np
import pytest
import torch

from leadline.completion.blocks import beside, by_blocks, on_one_core, side_by_side
from leadline.completion.neighbours import Neighbours
from leadline.completion.options import FusionOptions
from leadline.completion.setting import _step_along_lines

CPU = torch.device("cpu")


def step(rows, columns):
    return _step_along_lines(Neighbours(torch.as_tensor(np.stack([columns, rows], 1)).float()), FusionOptions())


@pytest.mark.parametrize("lines", [4, 16, 64])
def test_scan_lines_are_a_scanners(lines):
    columns, rows = np.meshgrid(np.arange(0, 640, 2), np.linspace(10, 470, lines))
    curved = rows + 8 * np.sin(columns / 640 * np.pi)
    assert step(np.rint(curved).ravel(), columns.ravel()) == pytest.approx(2.0, abs=0.3)


def test_groups_of_points_and_parts_of_a_picture_are_not():
    rng = np.random.default_rng(0)
    corners = rng.uniform([0, 0], [480, 640], (60, 2))
    grouped = np.rint(corners.repeat(20, 0) + rng.normal(0, 6, (1200, 2)))
    assert step(*grouped.T) is None
    below = rng.uniform([240, 0], [480, 640], (2000, 2))  # nothing measures the sky
    assert step(*np.rint(below).T) is None
    assert step(*(grid.ravel() for grid in np.mgrid[0:480:8, 0:640:8])) is None


def slice_itself(part):
    return part


def test_blocks_cover_everything_once_and_in_order():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for length in (1, 2, 7, 1000):
            blocks = on_one_core(lambda length=length: by_blocks(slice_itself, length, CPU, 2, 100))
            assert [i for block in blocks for i in range(length)[block]] == list(range(length))
            assert max(block.stop - block.start for block in blocks) <= 100
    finally:
        torch.set_num_threads(before)


def test_inside_pytorch_uses_one_core_and_everywhere_else_what_it_used():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside = on_one_core(
            lambda: (
                torch.get_num_threads(),
                *side_by_side(lambda _: torch.get_num_threads(), [1, 2], CPU),
                beside(lambda: 3)(),
            )
        )
        assert inside == (1, 1, 1, 3)
        assert torch.get_num_threads() == 2
        found = []
        new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        new.start()
        new.join()
        assert found == [2]
    finally:
        torch.set_num_threads(before)


def test_an_error_inside_comes_out():
    with pytest.raises(ZeroDivisionError):
        on_one_core(lambda: 1 // 0)
