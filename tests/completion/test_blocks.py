"""Which core does what."""

import threading

import pytest
import torch

from leadline.completion.blocks import beside, by_blocks, on_one_core, side_by_side

CPU = torch.device("cpu")


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
