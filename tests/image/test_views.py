from __future__ import annotations

import pytest
import torch

from leadline.views import views


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
