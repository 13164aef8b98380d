from __future__ import annotations

import pytest
import torch

from leadline.inference.views import laid_over, views


@pytest.mark.parametrize("view", views(16), ids=str)
def test_undo_puts_everything_back(view):
    image = torch.arange(30 * 40.0).reshape(1, 30, 40)
    back = view.undo(view.apply(image))
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert torch.equal(back[inner], image[inner])


def test_views_differ_and_begin_with_the_image_itself():
    image = torch.rand(1, 30, 40)
    seen = [view.apply(image) for view in views(16)]
    assert torch.equal(seen[0], image)
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_a_shifted_view_goes_on_where_it_saw_nothing() -> None:
    """Every view is off by a number of its own everywhere, and by far more at the rim of its own map."""
    image = torch.rand(1, 24, 40, generator=torch.Generator().manual_seed(1))
    off = torch.arange(8.0).view(1, 8, 1, 1)
    maps = torch.stack([view.apply(image) for view in views(8)], dim=1) + off
    assert torch.allclose(laid_over(maps), image[:, None] + off)
    for rim in (maps[..., 0, :], maps[..., -1, :], maps[..., 0], maps[..., -1]):
        rim[:, 2:] += 100.0  # of the shifted ones
    spoilt = (laid_over(maps) - image[:, None] - off)[0, 2:] > 50.0
    for map_, view in zip(spoilt, views(8)[2:], strict=True):
        unseen_row, unseen_column = (map_[-1] if view.down > 0 else map_[0]), map_[:, -1 if view.right > 0 else 0]
        assert not unseen_row[8:-8].any()  # continued from inside, not from the rim
        assert not unseen_column[8:-8].any()


def test_views_of_an_image_laid_over_it_are_the_image() -> None:
    image = torch.rand(2, 24, 40, generator=torch.Generator().manual_seed(1))
    seen = torch.stack([view.apply(image) for view in views(16)], dim=1)
    assert torch.equal(laid_over(seen), image[:, None].expand_as(seen))
