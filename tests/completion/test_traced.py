"""What is recorded to run without Python's lock."""

from __future__ import annotations

import pytest
import torch
from completion_scene import keep, model_map, room

from leadline.completion import local
from leadline.completion.methods import complete
from leadline.completion.traced import Traced
from leadline.completion.tuned import TRACED
from leadline.depth.spaces import Space

IMAGE, DEPTH = room()


class Never(Traced):
    """Records nothing."""

    def of(self, key, function, example):
        return function


@pytest.mark.parametrize("points", [5, 400, 3000])
def test_a_stream_gets_what_a_single_picture_gets(points, monkeypatch):
    """To the last digit, and whatever was recorded for other numbers of points before."""
    prediction, sparse = model_map(DEPTH, Space.LOG_DEPTH, noise=0.1), keep(DEPTH, points)
    monkeypatch.setattr(local, "_TRACED", Never())
    alone = complete(IMAGE, prediction, sparse)
    recording = Traced()
    monkeypatch.setattr(local, "_TRACED", recording)
    complete(IMAGE, prediction, keep(DEPTH, points // 2))
    for _ in range(TRACED.calls + 2):
        again = complete(IMAGE, prediction, sparse)
    assert recording._recorded
    assert (again.values == alone.values).all()
    assert (again.uncertainty == alone.uncertainty).all()


def test_few_records_are_kept():
    recording = Traced()
    for key in range(TRACED.kept + 3):
        for _ in range(TRACED.calls + 1):
            compute = recording.of(key, lambda x, key=key: (x + key,), lambda: (torch.zeros(2),))
        assert torch.equal(compute(torch.ones(5))[0], torch.full((5,), 1.0 + key))
    assert len(recording._recorded) == TRACED.kept
